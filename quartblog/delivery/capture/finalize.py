"""Frozen record -> final record, as every sink sees it: traceback as text, breadcrumbs as lines, redacted.

Runs on the listener's thread, once for each record, before any sink.
"""

from __future__ import annotations

import inspect
import logging
import time
from typing import TYPE_CHECKING, Any, TypeGuard

from ..context import CRUMB_LIMIT, new_error_id
from ..grouping.event import level_of
from ..grouping.fingerprint import identify
from ..options import QueueOptions
from ..own_log import LOGGER_NAME, kind, reraise_interrupt
from ..text.escaping import one_line, shortened
from ..text.exc_info import FAILURE, keep_snapshot, valid_exc_info
from ..text.exceptions import NAME_LIMIT, TEXT_LIMIT
from ..text.freezing import EXTRA, extra_names, rewritten, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..context import Breadcrumb, Scope
    from ..text.exceptions import ExceptionSnapshot
    from ..text.redaction import Redactor

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
    if level >= logging.ERROR and not attributes.get("error_id"):
        attributes["error_id"] = new_error_id()


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


SCOPE = "_scope"
"""The attribute of a queued record with its scope."""
CRUMBS = "_crumbs"
"""The attribute of a queued record with the breadcrumbs of that scope."""
SHARED = 64
"""Described exceptions that are kept, the latest ones, so that equal ones share a text."""
SHARED_WORDS = 1_000
"""Characters of an exception's message at most; exceptions with longer ones are not kept."""


class Finalizer:
    """Completes records, and redacts them if it has a redactor."""

    def __init__(
        self,
        redactor: Redactor | None,
        *,
        frames: bool = True,
        own_packages: tuple[str, ...] = QueueOptions().own_packages,
    ) -> None:
        """Without a redactor nothing is hidden. Without `frames`, a record keeps no exception and so no locals."""
        self._redactor = redactor
        self._own_packages = own_packages
        self._frames = frames
        self._latest: dict[object, ExceptionSnapshot] = {}

    def finalize(self, record: logging.LogRecord) -> None:
        """Change the record, which belongs to the queue alone, into its final form."""
        attributes = record.__dict__
        check(attributes)
        scope: Scope | None = attributes.pop(SCOPE, None)
        failure = keep_snapshot(record)
        if record.levelno >= logging.ERROR:
            # Before redaction, because that depends on what a visitor sent, and the fingerprint must not.
            attributes["identity"] = identify(record, self._own_packages)
        hide = self._redactor.for_scope(scope) if self._redactor is not None else None
        if hide is not None:
            _redact(record, hide)
        _put_extra(attributes, hide)
        if crumbs := attributes.pop(CRUMBS, None):
            attributes["breadcrumbs"] = tuple(_line(crumb, hide) for crumb in crumbs)
        if failure is not None:
            failure = attributes[FAILURE] = self._shared(failure)
            record.exc_text = failure.text
            if not self._frames:
                record.exc_info = None

    def _shared(self, failure: ExceptionSnapshot) -> ExceptionSnapshot:
        """Return the snapshot, or an equal earlier one: in a storm all records share one snapshot and one text."""
        key = failure.key
        if key is None or len(failure.message) > SHARED_WORDS:
            return failure
        try:
            failure = self._latest.setdefault(key, failure)
            if len(self._latest) > SHARED:
                del self._latest[next(iter(self._latest))]
        except BaseException as error:  # noqa: BLE001  the key holds the exception's class, whose metaclass may raise
            reraise_interrupt(error)
        return failure


def _redact(record: logging.LogRecord, hide: Callable[[str], str]) -> None:
    attributes = record.__dict__
    before = attributes["msg"]
    if (message := hide(before)) != before:
        attributes["msg"] = attributes["message"] = message
    template = attributes.get("template")
    # If an object was logged instead of a text, the message is the title.
    named = template if isinstance(template, str) else before
    if (shown := hide(named)) != named:
        if named is template:
            attributes["template"] = shown
        if "identity" in attributes and FAILURE not in attributes:
            attributes["identity"] = attributes["identity"].with_title_of(shown)
    if (failure := attributes.get(FAILURE)) is not None:
        if failure.rewrite(hide):
            # A sink that formats the exception itself would show what is hidden now.
            record.exc_info = None
    elif record.exc_text:
        record.exc_text = hide(record.exc_text)
    # The program chooses the names of tasks and threads, and may put any text into stack_info.
    # Some programs know a user by an address.
    for name in ("stack_info", "taskName", "threadName", "user_id"):
        if type(text := attributes.get(name)) is str:
            attributes[name] = hide(text)


def _put_extra(attributes: dict[str, Any], hide: Callable[[str], str] | None) -> None:
    """Replace the values that the caller gave by frozen ones, also under their names: sinks see no other."""
    extra = attributes.get(EXTRA)
    if type(extra) is not dict:
        attributes[EXTRA] = {}
        return
    for name in extra_names(attributes):
        del attributes[name]
    if hide is not None:
        extra = attributes[EXTRA] = rewritten(extra, hide)
    attributes.update(extra)
    # It would hide the method.
    attributes.pop("getMessage", None)


def _line(crumb: Breadcrumb, hide: Callable[[str], str] | None) -> str:
    try:
        moment, level, logger, message = crumb
        if hide is not None:
            message = hide(message)
        line = f"{time.strftime('%H:%M:%S', time.localtime(moment))} {level} {logger}: {message}"
        return one_line(shortened(str.__str__(line), CRUMB_LIMIT + 2 * NAME_LIMIT))
    except BaseException as error:  # noqa: BLE001  a record may have any values
        reraise_interrupt(error)
        return f"(a record that could not be shown: {kind(error)})"


_UNKNOWN = (UNKNOWN, 0, UNKNOWN)


def own_record(level: int, text: str) -> logging.LogRecord:
    """Return a record of the delivery itself, with the caller's line. It goes to sinks past the queue."""
    here = inspect.currentframe()
    caller = here.f_back if here is not None else None
    path, line, function = (caller.f_code.co_filename, caller.f_lineno, caller.f_code.co_name) if caller else _UNKNOWN
    return logging.LogRecord(LOGGER_NAME, level, path, line, text, None, None, func=function)


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


_KEPT = (
    *("name", "levelno", "levelname", "pathname", "filename", "module", "lineno", "funcName", "created", "msecs"),
    *("relativeCreated", "thread", "threadName", "process", "processName", "taskName"),
    *("error_id", "method", "route", "user_id"),
)
