"""Frozen record -> what every sink may see: the traceback as text, breadcrumbs as lines, nothing a visitor sent.

Runs on the listener's thread, once for each record, before any sink.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

from ..context import CRUMB_LIMIT
from ..foreign import let_through
from ..grouping.fingerprint import identify, retitled
from ..stderr import LOGGER_NAME, kind
from ..text.escaping import one_line, shortened
from ..text.recent import Recent
from ..text.recorded import FAILURE, keep_failure
from .soundness import NAME_LIMIT, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..context import Breadcrumb, Scope
    from ..text.failures import Failure
    from ..text.redaction import Redactor

SCOPE = "_scope"
"""The attribute by which a queued record refers to the piece of work it belongs to."""
CRUMBS = "_crumbs"
"""The attribute with that work's earlier records."""
SHARED = 64
"""Failures that are kept, as they were told, for the next that is equal."""
SHARED_WORDS = 1_000
"""Characters of a failure's own words with which it is kept."""


class Settler:
    """Completes records, and redacts them where there is a redactor."""

    def __init__(self, redactor: Redactor | None, *, frames: bool = True) -> None:
        """Without a redactor everything is told as it is; without `frames`, they are let go with all their locals."""
        self._redactor = redactor
        self._frames = frames
        self._told: Recent[Failure] = Recent(SHARED)

    def settle(self, record: logging.LogRecord) -> None:
        """Change the record, which belongs to the queue alone, into its final form."""
        attributes = record.__dict__
        check(attributes)
        scope: Scope | None = attributes.pop(SCOPE, None)
        failure = keep_failure(record)
        if record.levelno >= logging.ERROR:
            # Before anything is hidden: what one visitor sent shall not make a failure look like another one.
            attributes["identity"] = identify(record)
        hide = self._redactor.for_scope(scope) if self._redactor is not None else None
        if hide is not None:
            _redact(record, hide)
        if crumbs := attributes.pop(CRUMBS, None):
            attributes["breadcrumbs"] = tuple(_line(crumb, hide) for crumb in crumbs)
        if failure is not None:
            failure = attributes[FAILURE] = self._shared(failure)
            record.exc_text = failure.text
            if not self._frames:
                record.exc_info = None

    def _shared(self, failure: Failure) -> Failure:
        """The failure, or an equal one that was told before: in a storm they are one object with one text."""
        key = failure.key
        if key is None or len(failure.said) > SHARED_WORDS:
            return failure
        try:
            if (known := self._told.get(key)) is not None:
                return known
            self._told.keep(key, failure, 1)
        except BaseException as error:  # noqa: BLE001  the exception's class is a part of the key, and has a class too
            let_through(error)
        return failure


def _redact(record: logging.LogRecord, hide: Callable[[str], str]) -> None:
    attributes = record.__dict__
    before = attributes["msg"]
    if (message := hide(before)) != before:
        attributes["msg"] = attributes["message"] = message
    template = attributes.get("template")
    # Of an object that was logged instead of a text, the message is what names the failure.
    named = template if isinstance(template, str) else before
    if (shown := hide(named)) != named:
        if named is template:
            attributes["template"] = shown
        if "identity" in attributes and FAILURE not in attributes:
            attributes["identity"] = retitled(attributes["identity"], shown)
    if (failure := attributes.get(FAILURE)) is not None:
        if failure.rewrite(hide):
            # Whoever formats by himself would tell again what is hidden now.
            record.exc_info = None
    elif record.exc_text:
        record.exc_text = hide(record.exc_text)


def _line(crumb: Breadcrumb, hide: Callable[[str], str] | None) -> str:
    try:
        moment, level, logger, message = crumb
        if hide is not None:
            message = hide(message)
        line = f"{time.strftime('%H:%M:%S', time.localtime(moment))} {level} {logger}: {message}"
        return one_line(shortened(str.__str__(line), CRUMB_LIMIT + 2 * NAME_LIMIT))
    except BaseException as error:  # noqa: BLE001  an odd record may have left it, and this one is another
        let_through(error)
        return f"(a record that could not be shown: {kind(error)})"


def own_record(level: int, text: str) -> logging.LogRecord:
    """A record of the delivery itself that does not travel through the queue, from where this is called."""
    caller = sys._getframe(1)  # noqa: SLF001  as logging finds its caller
    code = caller.f_code
    return logging.LogRecord(LOGGER_NAME, level, code.co_filename, caller.f_lineno, text, None, None, func=code.co_name)


def instead_of(record: logging.LogRecord, why: str) -> logging.LogRecord:
    """A line in the place of a record that nobody can show; of its own words it has none."""
    given = getattr(record, "__dict__", None)
    known = given if type(given) is dict else {}
    told: logging.LogRecord = object.__new__(logging.LogRecord)
    attributes = told.__dict__
    attributes.update({name: known.get(name) for name in _KEPT})
    check(attributes)
    attributes["msg"] = attributes["message"] = f"({why})"
    attributes.update(args=None, exc_info=None, exc_text=None, stack_info=None)
    return told


_KEPT = (
    *("name", "levelno", "levelname", "pathname", "filename", "module", "lineno", "funcName", "created", "msecs"),
    *("relativeCreated", "thread", "threadName", "process", "processName", "taskName"),
    *("error_id", "method", "route", "user_id"),
)
