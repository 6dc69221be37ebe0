"""LogRecord -> the Failure it tells of, in the place of the exception itself when that is let go."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from .failures import Failure

if TYPE_CHECKING:
    import logging

    from .failures import ExcInfo

FAILURE = "_failure"
"""The attribute of a record that holds its Failure, once that is known."""

_TRACEBACK = BaseException.__dict__["__traceback__"]


def failure_of(record: logging.LogRecord) -> Failure | None:
    """What the record tells of an exception."""
    # Looked at before what is kept: `let_go` puts the one in the place of the other meanwhile.
    info = record.__dict__.get("exc_info")
    known = record.__dict__.get(FAILURE)
    # Anybody may give a record an attribute of this name.
    if type(known) is Failure:
        return known
    return Failure(sound) if (sound := sound_info(info)) is not None else None


def keep_failure(record: logging.LogRecord) -> Failure | None:
    """As `failure_of`, and kept on the record. Two threads may ask at once: one of them wins."""
    failure = failure_of(record)
    if failure is not None:
        kept = record.__dict__.setdefault(FAILURE, failure)
        return kept if type(kept) is Failure else failure
    return None


def let_go(record: logging.LogRecord) -> None:
    """Keep what the record tells of an exception, and let go of that and its frames, which hold all their locals."""
    if keep_failure(record) is not None:
        record.exc_info = None


def sound_info(given: Any) -> ExcInfo | None:
    """The exception that an exc_info holds; None where it holds none, as True does, or a tuple of something else."""
    kind: Any
    trace: Any
    if type(given) is tuple and len(given) == 3:
        kind, error, trace = given
    else:
        kind, error, trace = None, given, None
    # By its type: an object's __class__ may be a lie, or raise.
    if not issubclass(type(error), BaseException):
        return None
    if error is given:
        trace = _TRACEBACK.__get__(error)
    if kind is type(error) and (trace is None or type(trace) is TracebackType):
        sound: ExcInfo = given
        return sound
    return type(error), error, trace if type(trace) is TracebackType else None
