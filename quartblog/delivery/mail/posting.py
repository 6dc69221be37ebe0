"""The outbox and who empties it: errors and mails -> one file of the host -> mailer thread -> mail server."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from ..deadlines import left
from ..options import bare_address
from ..outbox.outbox import Outbox
from ..statistics import percentiles
from ..stderr import LOGGER_NAME, report
from .mailer import Mailer
from .postman import Postman

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from ..options import MailingOptions, MailOptions
    from ..outbox.options import OutboxOptions
    from ..outbox.stored import Totals

MAIL_AT_STOP = 2.0
"""Seconds a stop waits for the mail server at most, and only where the outbox ends with the process."""

logger = logging.getLogger(LOGGER_NAME)


class Posting:
    """One outbox with its mailer."""

    def __init__(
        self,
        options: OutboxOptions | None,
        mail: MailOptions | None,
        mailing: MailingOptions,
        figures: Callable[[], Mapping[str, Any]],
    ) -> None:
        """Nothing is opened yet. `figures` are the heartbeat's, besides those of the mail."""
        self.outbox = Outbox(None) if options is None else Outbox.of(options)
        self.postman = Postman(self.outbox, usable(mail), mailing)
        self.mailer = Mailer(self.outbox, self.postman, figures=figures)

    @property
    def healthy(self) -> bool:
        """Whether its thread lives, or is still to be started; the mail server and the outbox may be away."""
        return not self.mailer.died

    def start(self) -> None:
        """Start the mailer."""
        if self.outbox.path is not None:
            # The leader's lock stands beside the outbox, and is wanted first.
            with contextlib.suppress(OSError):
                self.outbox.path.parent.mkdir(parents=True, exist_ok=True)
        self.mailer.start()

    def take_over(self, before: Posting, timeout: float) -> None:
        """Before the start: end another, within `timeout` seconds unless its disk hangs.

        What only its memory holds moves over. What waits in its file is told and stays: other processes may be
        about to send it.
        """
        before.mailer.stop(timeout)
        waiting = before.outbox.totals() if before.outbox.healthy else None
        self.outbox.inherit(before.outbox)
        path = before.outbox.path
        if path is not None and not _is_same(path, self.outbox.path) and (left := _left(waiting)):
            logger.warning("%s is no longer the outbox: %s", path, left)
        before.outbox.close()

    def figures(self) -> dict[str, Any]:
        """What the heartbeat tells of the mail."""
        done = self.postman.figures
        return {**done.counts(), "to_mail": percentiles(done.latencies.copy())}

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """As Delivery.post."""
        number = self.outbox.post(message, [*map(bare_address, recipients)])
        self.mailer.wake()
        return number

    def reconfigure(self, mail: MailOptions | None, mailing: MailingOptions) -> None:
        """Use these from the next mail on."""
        self.mailer.reconfigure(usable(mail), mailing)

    def stop(self, deadline: float, *, mail: bool = True) -> None:
        """End the mailer; with `mail`, what only this process has is sent before, if that is a matter of seconds."""
        if mail and self.outbox.in_memory:
            self.mailer.finish(min(MAIL_AT_STOP, left(deadline)))
        self.mailer.stop(max(0.2, left(deadline)))
        if self.outbox.path is None and (waiting := len(self.outbox.mails("waiting"))):
            text = f"Mails that were not sent before the stop: {waiting}; the log file has what they tell"
            report(text)
            logger.warning("%s", text)


def _is_same(path: Path, other: Path | None) -> bool:
    return other is not None and path.resolve() == other.resolve()


def _left(totals: Totals | None) -> str:
    """What waits in a file that is used no longer, and what to do about it; empty for nothing."""
    if totals is None:
        return "whether anything waits there cannot be seen"
    if not (totals.to_mail or totals.waiting):
        return ""
    return (
        f"errors in no mail yet: {totals.to_mail}, waiting mails: {totals.waiting};"
        " they stay there until it is the outbox once more"
    )


def usable(mail: MailOptions | None) -> MailOptions | None:
    """The options if mail can be sent with them."""
    return mail if mail is not None and mail.problem is None else None
