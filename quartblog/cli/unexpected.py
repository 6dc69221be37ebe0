"""Unexpected exception of a command -> a record in log file and outbox, and one line with the error id.

The delivery starts only for this record, so a successful command opens no log file. It sends no mail; the site's leader
mails the error, now or after the next start.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from quartblog.delivery import Delivery, current_scope
from quartblog.delivery.tools import reraise_interrupt
from quartblog.settings.options import failure_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quartblog.delivery import Scope
    from quartblog.settings import Settings

EXPECTED = (click.ClickException, click.Abort, click.exceptions.Exit, EOFError, BrokenPipeError)
"""The exceptions that click handles itself."""
MOST = 200
"""The most breadcrumbs to keep before the settings are read; [delivery] breadcrumbs cannot be higher."""

logger = logging.getLogger(__name__)


@contextmanager
def breadcrumbs(work: Scope) -> Iterator[None]:
    """Keep records below ERROR as breadcrumbs of the scope.

    The record factory does this instead of a handler: with a handler, logging would no longer print warnings.
    """
    make, level = logging.getLogRecordFactory(), logging.root.level

    def make_and_keep(*arguments: Any, **more: Any) -> logging.LogRecord:
        record = make(*arguments, **more)
        if record.levelno < logging.ERROR and current_scope() is work:
            try:
                work.leave_crumb(record, record.getMessage(), MOST)
            except BaseException as error:  # noqa: BLE001  the handlers report a message that cannot be formatted
                reraise_interrupt(error)
        return record

    logging.setLogRecordFactory(make_and_keep)
    logging.root.setLevel(logging.INFO)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)
        logging.root.setLevel(level)


def record(error: Exception, work: Scope, settings: Settings) -> str | None:
    """Record the failure in its scope. Return the line to show, None if the log file did not get the record."""
    options = failure_options(settings)
    work.keep_crumbs(settings.delivery.breadcrumbs)
    with Delivery(**options) as delivery:
        logger.error("Exception in the command %s", work.route, exc_info=error)
        written = delivery.drain() and delivery.healthy
    kind, path = type(error).__name__, options["file"].path
    return f"{work.route} failed unexpectedly ({kind}): see error {work.error_id} in {path}" if written else None
