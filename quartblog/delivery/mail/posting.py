"""The outbox and who empties it: errors and mails -> one file of the host -> mailer thread -> mail server."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from ..deadlines import MOMENT, left, within
from ..filesystem import make_folder
from ..options import bare_address
from ..own_log import describe, own_logger, report
from ..statistics import percentiles
from ..store.outbox import Outbox
from .sender import Sender
from .thread import Mailer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from ..options import MailingOptions, MailOptions, OutboxOptions
    from ..store.workers import Totals

MAIL_AT_STOP = 2.0
"""Seconds a stop waits for the mail server at most, and only where the outbox ends with the process."""

logger = own_logger()


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
        self.postman = Sender(self.outbox, usable(mail), mailing)
        self.mailer = Mailer(self.outbox, self.postman, figures=figures)
        self._posts = threading.Condition()
        self._under_way = 0
        self._left = False
        self._heir: Posting | None = None

    @property
    def healthy(self) -> bool:
        """Whether its thread lives, or is still to be started; the mail server and the outbox may be away."""
        return not self.mailer.died

    def start(self) -> None:
        """Start the mailer."""
        if self.outbox.path is not None:
            # The leader's lock stands beside the outbox, and is wanted first.
            with contextlib.suppress(OSError):
                make_folder(self.outbox.path.parent)
        self.mailer.start()

    def take_over(self, before: Posting, timeout: float) -> None:
        """Before the start: end another, within about `timeout` seconds.

        What only its memory holds moves over. What waits in its file is told and stays: other processes may be
        about to send it. Where its disk hangs, all this is done once that answers.
        """
        deadline = time.monotonic() + timeout
        before.mailer.stop(timeout)
        try:
            within(max(MOMENT, left(deadline)), lambda: self._inherit(before))
        except TimeoutError:
            _tell_of(before.outbox.path, None)

    def figures(self) -> dict[str, Any]:
        """What the heartbeat tells of the mail."""
        done = self.postman.figures
        return {**done.counts(), "to_mail": percentiles(done.latencies.copy())}

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int | None:
        """As Delivery.post; None once another one has taken over."""
        with self._posts:
            if self._left:
                return None
            self._under_way += 1
        # Counted, not locked: the outbox may log, and a handler may post in its turn.
        try:
            number = self.outbox.post(message, [*map(bare_address, recipients)])
        finally:
            with self._posts:
                self._under_way -= 1
                self._posts.notify_all()
        self.mailer.wake()
        return number

    def reconfigure(self, mail: MailOptions | None, mailing: MailingOptions) -> None:
        """Use these from the next mail on."""
        self.mailer.reconfigure(usable(mail), mailing)

    def stop(self, deadline: float, *, mail: bool = True) -> None:
        """End the mailer; with `mail`, what only this process has is sent before, if that is a matter of seconds."""
        if mail and self.outbox.in_memory:
            self.mailer.finish(min(MAIL_AT_STOP, left(deadline)))
        self.mailer.stop(max(MOMENT, left(deadline)))
        if self.outbox.path is None and (waiting := len(self.outbox.mails("waiting"))):
            text = f"Mails that were not sent before the stop: {waiting}; the log file has what they tell"
            report(text)
            logger.warning("%s", text)

    def _inherit(self, before: Posting) -> None:
        with before._posts:
            before._left, before._heir = True, self
            before._posts.wait_for(lambda: not before._under_way)
        try:
            self._take_from(before)
        except Exception as error:  # noqa: BLE001  what was late is heard by nobody, and the rest of the change goes on
            logger.warning("%s could not be left in order: %s", before.outbox.path, describe(error))
        finally:
            before.outbox.close()

    def _take_from(self, before: Posting) -> None:
        # Asked in any case: nothing of this outbox may be held while the disk of that one hangs.
        totals = before.outbox.totals()
        seen = before.outbox.healthy
        if not _is_same(before.outbox.path, self.outbox.path):
            _tell_of(before.outbox.path, totals if seen else None)


def _is_same(path: Path | None, other: Path | None) -> bool:
    return path is not None and other is not None and path.resolve() == other.resolve()


def _tell_of(path: Path | None, totals: Totals | None) -> None:
    """What waits in a file that is used no longer, and what to do about it; nothing for no file."""
    if path is None:
        return
    if totals is None:
        logger.warning("%s is no longer the outbox: whether anything waits there cannot be seen", path)
    elif totals.to_mail or totals.waiting:
        logger.warning(
            "%s is no longer the outbox: errors in no mail yet: %d, waiting mails: %d;"
            " they stay there until it is the outbox once more",
            path,
            totals.to_mail,
            totals.waiting,
        )


def usable(mail: MailOptions | None) -> MailOptions | None:
    """The options if mail can be sent with them."""
    return mail if mail is not None and mail.problem is None else None
