"""Frozen record -> final record, as every sink sees it: traceback as text, breadcrumbs as lines, redacted.

Runs on the listener's thread, once for each record, before any sink.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ..context import CRUMB_LIMIT, new_error_id
from ..grouping.fingerprint import identify
from ..options import QueueOptions
from ..own_log import kind, reraise_interrupt
from ..text.escaping import one_line, shortened
from ..text.exc_info import FAILURE, keep_snapshot
from ..text.exceptions import NAME_LIMIT
from ..text.freezing import EXTRA, check, extra_names, rewritten
from .handler import CRUMBS, SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..context import Breadcrumb, Scope
    from ..text.redaction import Redactor


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

    def finalize(self, record: logging.LogRecord) -> None:
        """Change the record, which belongs to the queue alone, into its final form."""
        attributes = record.__dict__
        check(attributes)
        if record.levelno >= logging.ERROR and not attributes.get("error_id"):
            attributes["error_id"] = new_error_id()
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
            record.exc_text = failure.text
            if not self._frames:
                record.exc_info = None


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
