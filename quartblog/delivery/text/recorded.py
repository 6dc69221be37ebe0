"""LogRecord -> the Failure it tells of, in the place of the exception itself when that is let go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .failures import Failure

if TYPE_CHECKING:
    import logging

FAILURE = "_failure"
"""The attribute of a record that holds its Failure, once that is known."""


def failure_of(record: logging.LogRecord) -> Failure | None:
    """What the record tells of an exception."""
    # Looked at before what is kept: `let_go` puts the one in the place of the other meanwhile.
    info = record.exc_info
    known: Failure | None = record.__dict__.get(FAILURE)
    if known is not None:
        return known
    # A record made by hand may hold True or a bare exception here.
    return Failure(info) if isinstance(info, tuple) and info[1] is not None else None


def keep_failure(record: logging.LogRecord) -> Failure | None:
    """As `failure_of`, and kept on the record. Two threads may ask at once: one of them wins."""
    failure = failure_of(record)
    if failure is not None:
        failure = record.__dict__.setdefault(FAILURE, failure)
    return failure


def let_go(record: logging.LogRecord) -> None:
    """Keep what the record tells of an exception, and let go of that and its frames, which hold all their locals."""
    if keep_failure(record) is not None:
        record.exc_info = None
