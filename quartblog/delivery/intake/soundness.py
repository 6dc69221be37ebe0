"""Whatever a record's attributes hold -> the types that every sink may trust.

A caller names attributes freely through `extra`, and a factory, a filter or a record made by hand may set the others
to anything. So each attribute that a sink reads is checked here, once, on the listener's thread: it is kept where it
is what its name says, written as a text where that makes sense, and replaced by what is most likely where it is not.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, TypeGuard

from ..foreign import let_through
from ..ids import new_error_id
from ..stderr import describe, kind
from ..text.escaping import shortened
from ..text.failures import TEXT_LIMIT
from ..text.recorded import FAILURE, sound_info

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME_LIMIT = 1_000
"""Characters of a logger's name, a path, a user's key and other short texts."""
HIGHEST_LEVEL = 1_000_000
"""Any integer is a level to logging; SQLite's have 64 bits."""
AHEAD = 86_400.0
"""Seconds a record may be ahead of the clock: what is dated later would be the newest of its group for ever."""

UNKNOWN = "?"
"""What a text is that every record has, where this one has none."""
_REQUIRED = ("name", "levelname", "pathname", "filename", "module")
_EMPTY = ("funcName", "threadName", "processName")
_OPTIONAL = ("error_id", "method", "route", "taskName")
_BLOCKS = ("exc_text", "stack_info")
_NUMBERS = (("lineno", 0), ("process", None), ("thread", None))
# Ours to set, later; and a method that an attribute of its name would hide.
_OURS = ("identity", "breadcrumbs", "getMessage")


def check(attributes: dict[str, Any]) -> None:
    """Let every attribute that a sink reads be of its type; never raises for what one may hold."""
    for name in _OURS:
        attributes.pop(name, None)
    level = attributes["levelno"] = level_of(attributes.get("levelno"))
    if attributes.get("levelname") is None:
        attributes["levelname"] = logging.getLevelName(level)
    _check_texts(attributes, _REQUIRED, NAME_LIMIT, UNKNOWN)
    _check_texts(attributes, _EMPTY, NAME_LIMIT, None)
    _check_texts(attributes, _BLOCKS, TEXT_LIMIT, None)
    _check_texts(attributes, [name for name in _OPTIONAL if name in attributes], NAME_LIMIT, None)
    for name, default in _NUMBERS:
        attributes[name] = _whole(attributes.get(name), default)
    _check_times(attributes)
    user_id = attributes.get("user_id")
    if user_id is not None:
        attributes["user_id"] = user_id if _whole(user_id, None) is not None else text_of(user_id, NAME_LIMIT)
    _check_exception(attributes)
    if level >= logging.ERROR and not attributes.get("error_id"):
        attributes["error_id"] = new_error_id()


def level_of(given: object) -> int:
    """The level as an integer; ERROR for what is none, so that it is not overlooked."""
    if type(given) is not int:
        # An IntEnum's member, for example: its own number, whatever its class makes of that.
        given = int.__index__(given) if issubclass(type(given), int) else logging.ERROR  # type: ignore[arg-type]
    return max(-HIGHEST_LEVEL, min(given, HIGHEST_LEVEL))


def text_of(given: object, limit: int) -> str:
    """The object as a text of about that many characters at most."""
    if type(given) is not str:
        try:
            # A subclass of str may bring its own __str__ and slicing.
            given = str.__str__(str(given))
        except BaseException as error:  # noqa: BLE001  any object may raise from its __str__
            let_through(error)
            given = f"(could not be written: {describe(error)})"
    return given if len(given) <= limit else shortened(given, limit)


def _check_texts(attributes: dict[str, Any], names: Iterable[str], limit: int, default: str | None) -> None:
    for name in names:
        value = attributes.get(name)
        if type(value) is not str or len(value) > limit:
            attributes[name] = default if value is None else text_of(value, limit)


def _whole(given: object, default: int | None) -> int | None:
    """An integer that JSON readers and SQLite understand."""
    return given if type(given) is int and -(1 << 63) <= given < 1 << 63 else default


def _check_times(attributes: dict[str, Any]) -> None:
    created, now = attributes.get("created"), time.time()
    # Compared, so that NaN is refused as well.
    if not _is_number(created) or not 0 <= created <= now + AHEAD:
        created = attributes["created"] = now
        attributes["msecs"] = None
    msecs = attributes.get("msecs")
    if not _is_number(msecs) or not 0 <= msecs < 1_000:
        attributes["msecs"] = created % 1 * 1_000
    if not _is_number(attributes.get("relativeCreated")):
        attributes["relativeCreated"] = 0.0


def _is_number(given: object) -> TypeGuard[float]:
    return type(given) is float or type(given) is int


def _check_exception(attributes: dict[str, Any]) -> None:
    given = attributes.get("exc_info")
    if given is None:
        return
    sound = sound_info(given)
    # Not written where it is sound: the end of its piece of work may be taking it away this very moment.
    if sound is not given:
        attributes["exc_info"] = sound
    if sound is None and not attributes["exc_text"] and FAILURE not in attributes and not _is_nothing(given):
        attributes["exc_text"] = f"(exc_info is no exception: {kind(given)})"


def _is_nothing(given: object) -> bool:
    """What stands for no exception."""
    return given is False or (type(given) is tuple and all(part is None for part in given))
