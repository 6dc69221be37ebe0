"""Record, on the thread that logs -> its message and its extra values as they are at the call.

A later change of an argument must not change the log, and no other thread may run the program's code. So the thread
that logs runs both: `%` with the `__str__`, `__repr__` and `__format__` of the arguments, and the same of the values in
`extra`. No time limit stops such a method. Values of exact builtin types are bounded: a text or a container that
is larger than a record keeps is shortened before it is formatted. Values nested in a container are not.
"""

from __future__ import annotations

import logging
import math
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..own_log import describe, kind, reraise_interrupt
from .escaping import LONGEST, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    if type(args) is dict:
        return _is_long(args) or any(map(_is_long, args.values()))
    return type(args) is tuple and any(map(_is_long, args))


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
