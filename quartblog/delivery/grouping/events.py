"""LogRecord -> Event: what is kept of one failure, small enough to store and safe to show."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, fields
from typing import Any, Self

from ..foreign import let_through
from ..ids import new_error_id
from ..stderr import describe
from ..text.escaping import shortened
from ..text.formatting import exception_text
from .fingerprint import identify

TRACEBACK_LIMIT = 50_000
"""Characters of one traceback that are kept; the whole is in the log file."""
MESSAGE_LIMIT = 10_000
"""Characters of one message that are kept."""
HIGHEST_LEVEL = 1_000_000
"""Any integer is a level to logging; SQLite's have 64 bits."""


@dataclass(frozen=True, slots=True)
class Event:
    """One failure. Its texts may hold anything a stranger typed: whoever shows them escapes them."""

    error_id: str
    """The id on the error page and in the log line."""
    fingerprint: str
    """16 hexadecimal digits; equal ones are the same failure."""
    title: str
    """The exception's type, or the message without what varies, on one line."""
    level: int
    logger: str
    message: str
    place: str
    """`path:line` of the innermost own frame, relative, or of the logging call."""
    function: str
    created: float
    """Epoch seconds."""
    method: str | None = None
    route: str | None = None
    user_id: int | str | None = None
    traceback: str = ""
    breadcrumbs: tuple[str, ...] = ()
    """Earlier lines of the same request, oldest first."""
    process: int = 0
    """Process id."""

    @classmethod
    def from_record(cls, record: logging.LogRecord) -> Self:
        """Never raises for what a record may carry; a record without an error id gets one."""
        identity = identify(record)
        attributes = vars(record)
        user_id, crumbs = attributes.get("user_id"), attributes.get("breadcrumbs")
        return cls(
            error_id=_text(attributes.get("error_id")) or new_error_id(),
            fingerprint=identity.fingerprint,
            title=identity.title,
            level=min(record.levelno, HIGHEST_LEVEL),
            logger=_text(record.name) or "",
            message=shortened(_message(record), MESSAGE_LIMIT),
            place=identity.place,
            function=identity.function,
            created=record.created,
            method=_text(attributes.get("method")),
            route=_text(attributes.get("route")),
            user_id=user_id if type(user_id) is int else _text(user_id),
            traceback=shortened(exception_text(record), TRACEBACK_LIMIT),
            breadcrumbs=tuple([_text(crumb) or "" for crumb in crumbs]) if type(crumbs) is tuple else (),
            process=record.process or 0,
        )

    def to_json(self) -> str:
        """All but the traceback, which many share. ASCII, so that a lone surrogate can be stored and comes back."""
        # By hand: asdict copies deeply, which costs as much as the rest.
        return _encode({name: getattr(self, name) for name in _FIELDS})

    @classmethod
    def from_json(cls, text: str, traceback: str) -> Self:
        """The event again; fields of a later version are passed over."""
        values: dict[str, Any] = json.loads(text)
        known = {name: values[name] for name in _FIELDS if name in values}
        known["breadcrumbs"] = tuple(known.get("breadcrumbs", ()))
        # An earlier version has it among the others.
        return cls(**known, traceback=traceback or values.get("traceback", ""))


_FIELDS = tuple(field.name for field in fields(Event) if field.name != "traceback")
_encode = json.JSONEncoder(separators=(",", ":")).encode


def _text(value: object) -> str | None:
    if value is None:
        return None
    try:
        # A subclass of str may bring its own __str__ and slicing.
        return str.__str__(str(value))
    except BaseException as error:  # noqa: BLE001  any object may raise from its __str__
        let_through(error)
        return f"(could not be written: {describe(error)})"


def _message(record: logging.LogRecord) -> str:
    try:
        return str.__str__(record.getMessage())
    except BaseException as error:  # noqa: BLE001  the same
        let_through(error)
        return f"(the message could not be built: {describe(error)})"
