"""Command -> scope -> where it fails as nobody expected: a record in log file and outbox, and one line with its id.

The delivery is started for that record only: a command that works opens no log file and never mails. What waits in
the outbox is mailed by the site's own leader, or after its next start.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from quartblog.delivery import Delivery, current_scope, reraise_interrupt
from quartblog.settings.options import failure_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quartblog.delivery import Scope
    from quartblog.settings import Settings

EXPECTED = (click.ClickException, click.Abort, click.exceptions.Exit, EOFError, BrokenPipeError)
"""What click itself answers."""
MOST = 200
"""Breadcrumbs that are kept until the settings say how many there shall be: no setting is higher."""

logger = logging.getLogger(__name__)


@contextmanager
def breadcrumbs(work: Scope) -> Iterator[None]:
    """Keep what is logged below ERROR in the scope.

    By the factory of records and not by a handler: with one, logging would show warnings on the terminal no more.
    """
    make, level = logging.getLogRecordFactory(), logging.root.level

    def make_and_keep(*arguments: Any, **more: Any) -> logging.LogRecord:
        record = make(*arguments, **more)
        if record.levelno < logging.ERROR and current_scope() is work:
            try:
                work.leave_crumb(record, record.getMessage(), MOST)
            except BaseException as error:  # noqa: BLE001  a message that cannot be built is its handlers' business
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
    """Record the failure in its scope; the line to show, None where the log file did not take it."""
    options = failure_options(settings)
    work.keep_crumbs(settings.delivery.breadcrumbs)
    with Delivery(**options) as delivery:
        logger.error("Exception in the command %s", work.route, exc_info=error)
        written = delivery.drain() and delivery.healthy
    kind, path = type(error).__name__, options["file"].path
    return f"{work.route} failed unexpectedly ({kind}): see error {work.error_id} in {path}" if written else None
