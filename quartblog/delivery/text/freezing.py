"""Record of any code -> a record of plain texts and numbers, of a bounded size, or a stand-in for it.

On the thread that logs, message and extra values become what they are at the call: a later change of an argument must
not change the log, and no other thread may run the program's code. So the thread that logs runs `%` with the `__str__`,
`__repr__` and `__format__` of the arguments, and the same of the values in `extra`. No time limit stops such a method.
Values of exact builtin types are bounded: a text or a container that is larger than a record keeps is shortened before
it is formatted. Values nested in a container are not.

The listener's thread checks the other attributes, which any code may have set to anything.
"""

from __future__ import annotations

import logging
import math
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeGuard

from ..own_log import describe, kind, reraise_interrupt
from .escaping import LONGEST, shortened
from .exc_info import FAILURE, valid_exc_info
from .exceptions import NAME_LIMIT, TEXT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

END = 2 * LONGEST
"""Characters of a long argument that are formatted, at its beginning and as many at its end.

More than the message keeps, so the message is always shortened again, in the middle, where redaction looks for a cut.
"""
ITEMS = LONGEST // 4
"""Items of a large container that are formatted, at its beginning and as many at its end.

More than the message keeps as well, because an item takes three characters at least.
"""
EXTRA = "_extra"
"""The attribute of a record with its frozen extra values, by name."""
_LONG, _MANY = 2 * END, 2 * ITEMS
_STANDARD = logging.LogRecord.getMessage
ENTRIES = 100
"""Extra values of a record, and items of one container in them, that are kept."""
DEPTH = 5
"""Containers inside of containers that are kept."""
ALL_ENTRIES = 2_000
"""Items of all containers of a record that are kept. A list that contains itself has ENTRIES to the power of DEPTH."""
VALUE_LIMIT = 10_000
"""Characters of one extra text; all of a record have LONGEST together."""

_PLAIN = vars(logging.makeLogRecord({}))
USUAL = len(_PLAIN) + 1
"""Attributes of a record without extra values: those of logging, and the handler's mark."""
_OWN_PLACE = ("error_id", "method", "route", "user_id")
_RESERVED = frozenset(
    (
        *_PLAIN,
        *("message", "asctime", "taskName"),  # set by logging later, or in some versions
        *(*_OWN_PLACE, "template", "identity", "breadcrumbs"),  # set by the delivery
    )
)

HIGHEST_LEVEL = 1_000_000
"""Logging takes any integer for a level, while SQLite's have 64 bits."""
AHEAD = 86_400.0
"""Seconds that a record may be ahead of the clock. A later one would stay the newest of its group."""
UNKNOWN = "?"
"""The value of a required text that a record lacks."""
_REQUIRED = ("name", "levelname", "pathname", "filename", "module")
_EMPTY = ("funcName", "threadName", "processName")
_OPTIONAL = ("error_id", "method", "route", "taskName")
_BLOCKS = ("exc_text", "stack_info")
_NUMBERS = (("lineno", 0), ("process", None), ("thread", None))
# The delivery sets the first two later. An attribute of the third name would hide the method.
_OURS = ("identity", "breadcrumbs", "getMessage")
# Of a record that cannot be shown.
_KEPT = (
    *("name", "levelno", "levelname", "pathname", "filename", "module", "lineno", "funcName", "created", "msecs"),
    *("relativeCreated", "thread", "threadName", "process", "processName", "taskName"),
    *("error_id", "method", "route", "user_id"),
)


def frozen_message(record: logging.LogRecord) -> str:
    """Return the final message, shortened, or the reason why it cannot be built. Never raises."""
    try:
        # The method of the class: an attribute of this name may hide it.
        build = type(record).getMessage
        if build is _STANDARD and record.args and _has_long(record.args):
            return _message_of_long(str(record.msg), record.args)
        return bounded(build(record))
    except BaseException as error:  # noqa: BLE001  any object may raise from its __str__
        reraise_interrupt(error)
        return bounded(f"(the message could not be built: {describe(error)}; template: {_template(record)})")


def template_of(message: object) -> str | None:
    """Return the text that `%` was called on, shortened; None if it was another object."""
    if type(message) is str and len(message) <= LONGEST:
        return message
    return bounded(message) if issubclass(type(message), str) else None  # type: ignore[arg-type]  # it is a str


def bounded(text: str, *, missing: int = 0) -> str:
    """Return the text, exactly a str, no longer than a record may hold."""
    # Redaction comes later. `Redactor` recognises this cut, and hides a part of a value beside it.
    if type(text) is not str:
        # A subclass of str may run its own formatting, which may raise, on another thread.
        text = str.__str__(text)
    return text if len(text) <= LONGEST else shortened(text, LONGEST, missing=missing)


def text_of(given: object, limit: int) -> str:
    """Return the object as a text of about that many characters at most. Never raises."""
    if type(given) is not str:
        try:
            # A subclass of str may have its own __str__ and slicing.
            given = str.__str__(str(given))
        except BaseException as error:  # noqa: BLE001  any object may raise from its __str__
            reraise_interrupt(error)
            given = f"(could not be written: {describe(error)})"
    return given if len(given) <= limit else shortened(given, limit)


def freeze_extra(attributes: dict[str, Any]) -> None:
    """Put the frozen extra values on the record, and make texts of those that have an attribute of their own."""
    attributes[EXTRA] = frozen_extra(attributes)
    for name in _OWN_PLACE:
        value = attributes.get(name)
        if value is not None and type(value) is not str and type(value) is not int:
            attributes[name] = text_of(value, VALUE_LIMIT)


def frozen_extra(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the record's extra values as JSON can hold them: text, numbers, true, false, null, lists and objects.

    Any other value becomes text. Number, depth and size are bounded; a note replaces what was left out.
    """
    freeze = _Freezer()
    found = list(extra_names(attributes))
    frozen = {name: freeze.safely(attributes[name]) for name in found[:ENTRIES]}
    if len(found) > ENTRIES:
        frozen["…"] = _left_out(len(found) - ENTRIES)
    return frozen


def extra_names(attributes: dict[str, Any]) -> Iterator[str]:
    """Yield the names that a caller gave. Names that begin with an underscore belong to handlers."""
    for name in list(attributes):
        if type(name) is str and name not in _RESERVED and not name.startswith("_"):
            yield name


def rewritten(value: Any, change: Callable[[str], str]) -> Any:
    """Return a frozen value with all its texts changed, names and numbers included."""
    if type(value) is str:
        return change(value)
    if type(value) is dict:
        return {change(name): rewritten(item, change) for name, item in value.items()}
    if type(value) is list:
        return [rewritten(item, change) for item in value]
    if type(value) is int or type(value) is float:
        return value if (text := change(shown := str(value))) == shown else text
    return value


class _Freezer:
    """Freezes the values of one record, which share two bounds."""

    def __init__(self) -> None:
        self._left = LONGEST
        self._entries_left = ALL_ENTRIES

    def safely(self, value: object) -> Any:
        try:
            return self._frozen(value, DEPTH)
        except BaseException as error:  # noqa: BLE001  another thread may change a container meanwhile
            reraise_interrupt(error)
            return f"(could not be written: {describe(error)})"

    def _frozen(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        # JSON readers and SQLite have integers of 64 bits, and no infinity.
        if (kind is int and -(1 << 63) <= value < 1 << 63) or (kind is float and math.isfinite(value)):
            return value
        if kind is dict or kind is list or kind is tuple or kind is set or kind is frozenset:
            return self._container(value, depth - 1) if depth else _left_out(len(value))
        return self._text(value)

    def _container(self, value: Any, depth: int) -> Any:
        most = min(ENTRIES, self._entries_left)
        more = len(value) - most
        self._entries_left -= min(len(value), most)
        if type(value) is dict:
            first = islice(value.items(), most)
            items = {self._text(name): self._frozen(item, depth) for name, item in first}
            return items if more <= 0 else items | {"…": _left_out(more)}
        parts = [self._frozen(item, depth) for item in islice(value, most)]
        return parts if more <= 0 else [*parts, _left_out(more)]

    def _text(self, value: object) -> str:
        if issubclass(type(value), BaseException):
            value = describe(value)  # type: ignore[arg-type]  # it is an exception
        elif type(value) is bytes and len(value) > 2 * VALUE_LIMIT:
            # More than is kept, so that the text is cut where redaction looks for a cut.
            value = value[:VALUE_LIMIT] + value[-VALUE_LIMIT:]
        text = text_of(value, min(VALUE_LIMIT, self._left))
        self._left = max(0, self._left - len(text))
        return text


def _left_out(items: int) -> str:
    return f"({items} more left out)"


def _message_of_long(template: str, args: Any) -> str:
    """Build the message with long arguments shortened."""
    if type(args) is dict and "%(" in template:
        before, names = tuple(args.values()), tuple(args)
    else:
        # Logging uses a single argument that is a dict as a mapping of names.
        before, names = args if type(args) is tuple else (args,), ()
    after = tuple([_shortened(each) if _is_long(each) else each for each in before])
    texts = [pair for pair in zip(before, after, strict=True) if type(pair[0]) is str]
    missing = sum(len(long) - len(short) for long, short in texts)
    return bounded(template % (dict(zip(names, after, strict=True)) if names else after), missing=missing)


def _has_long(args: Any) -> bool:
    if type(args) is tuple:
        # A loop, because most records have one or two arguments, for which `any` and `map` take longer.
        for value in args:  # noqa: SIM110
            if _is_long(value):
                return True
        return False
    return type(args) is dict and (_is_long(args) or any(map(_is_long, args.values())))


def _is_long(value: Any) -> bool:
    kind = type(value)
    # Not `in`, because a metaclass may define __eq__.
    if kind is str or kind is bytes:
        return len(value) > _LONG
    container = kind is list or kind is tuple or kind is dict or kind is set or kind is frozenset
    return container and len(value) > _MANY


def _shortened(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is bytes:
        return value[:END] + value[-END:]
    if kind is list or kind is tuple:
        return value[:ITEMS] + value[-ITEMS:]
    return kind(islice(value.items() if kind is dict else value, 2 * ITEMS))


def _template(record: logging.LogRecord) -> str:
    return str.__repr__(record.msg) if issubclass(type(record.msg), str) else kind(record.msg)


def check(attributes: dict[str, Any]) -> None:
    """Give every attribute that a sink reads its type. Never raises, whatever an attribute holds."""
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
        attributes[name] = _int64(attributes.get(name), default)
    _check_times(attributes)
    user_id = attributes.get("user_id")
    if user_id is not None:
        attributes["user_id"] = user_id if _int64(user_id, None) is not None else text_of(user_id, NAME_LIMIT)
    _check_exception(attributes)


def _check_texts(attributes: dict[str, Any], names: Iterable[str], limit: int, default: str | None) -> None:
    for name in names:
        value = attributes.get(name)
        if type(value) is not str or len(value) > limit:
            attributes[name] = default if value is None else text_of(value, limit)


def _int64(given: object, default: int | None) -> int | None:
    """Return an integer that JSON readers and SQLite understand."""
    return given if type(given) is int and -(1 << 63) <= given < 1 << 63 else default


def _check_times(attributes: dict[str, Any]) -> None:
    created, now = attributes.get("created"), time.time()
    # The comparison refuses NaN as well.
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
    valid = valid_exc_info(given)
    # Replaced only where it is not valid: the end of its scope may be removing it at this moment.
    if valid is not given:
        attributes["exc_info"] = valid
    if valid is None and not attributes["exc_text"] and FAILURE not in attributes and not _is_nothing(given):
        attributes["exc_text"] = f"(exc_info holds no exception: {kind(given)})"


def _is_nothing(given: object) -> bool:
    """Return whether it is one of the values by which logging means no exception."""
    return given is False or (type(given) is tuple and all(part is None for part in given))


def level_of(given: object) -> int:
    """Return the level as an integer that every sink can hold; ERROR for anything else, so that it is reported."""
    if type(given) is not int:
        # The number of an IntEnum's member, for example, whatever its class defines.
        given = int.__index__(given) if issubclass(type(given), int) else logging.ERROR  # type: ignore[arg-type]
    return max(-HIGHEST_LEVEL, min(given, HIGHEST_LEVEL))


def instead_of(record: logging.LogRecord, why: str) -> logging.LogRecord:
    """Return a stand-in for a record that cannot be shown: its own facts, `why` as the message, no other text."""
    given = getattr(record, "__dict__", None)
    known = given if type(given) is dict else {}
    made: logging.LogRecord = object.__new__(logging.LogRecord)
    attributes = made.__dict__
    attributes.update({name: known.get(name) for name in _KEPT})
    check(attributes)
    attributes["msg"] = attributes["message"] = f"({why})"
    attributes.update(args=None, exc_info=None, exc_text=None, stack_info=None)
    return made
