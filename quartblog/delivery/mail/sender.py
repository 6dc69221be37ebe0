"""What the leader does: due groups -> digests in the outbox -> the mail server, one mail at a time.

A mail is in the outbox before the first byte of it leaves, and stays there until the server took it
or refused it for good. Every try sends the same bytes, so the same Message-ID.
"""

from __future__ import annotations

import math
import os
import random
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from ..interrupts import reraise_cancellation
from ..options import bare_address
from ..own_log import describe, own_logger, report
from ..statistics import MailCounters
from ..store.mails import NewMail
from ..store.workers import LeaseLost
from ..text import counted
from .digest import Digest
from .message import wire_form
from .recipients import readers
from .schedule import cap, held_since, pause
from .smtp import MailFailed, Receipt, refused_for_good, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..options import MailingOptions, MailOptions
    from ..store.mails import Kind, StoredMail
    from ..store.outbox import Outbox
    from ..store.workers import Lease

logger = own_logger("mailer")

AWAY = 30.0
"""Seconds a server that is away is left alone at most: a password reset must not wait for the end of a long pause."""


RENEW = 1.0
"""Seconds between two times a leader renews its lease."""
MARGIN = 5.0
"""Seconds that a mail in flight may take besides its session with the mail server, until another leader sends it."""


class Sender:
    """Knows no thread and no waiting: `work` does what is due now, and returns."""

    def __init__(
        self,
        outbox: Outbox,
        mail: MailOptions | None,
        options: MailingOptions,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Without `mail` it does nothing. `chance` gives a number from 0 to 1."""
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        self.lease: Lease | None = None
        self.counters = MailCounters()
        self._outbox = outbox
        self.mail = mail
        self._options = options
        self._chance = chance
        self._holding = False
        self._renewed = -math.inf
        self._away_until = -math.inf
        self._failures = 0
        self._accepted: dict[int, Receipt] = {}

    def reconfigure(self, mail: MailOptions | None, options: MailingOptions) -> None:
        """Use these from the next mail on; a server that was away may be another one now."""
        self.mail, self._options = mail, options
        self._away_until = -math.inf

    @property
    def idle(self) -> bool:
        """Whether nothing in the outbox is due now, whichever process is to send it."""
        return self.mail is None or not (self._outbox.has_due_mail() or self._due())

    def lead(self) -> bool:
        """Take the lead of the host, or renew it; False while another worker has it. To be asked every second."""
        now, before = self._outbox.now(), self.lease
        if before is not None and now - self._renewed < RENEW:
            return True
        self.lease, self._renewed = self._outbox.lead(self.worker, before), now
        if self.lease is not None and self.lease.taken_from is not None:
            _tell(
                f"{self.lease.taken_from} has mailed for this host, and was silent for {self.lease.silent:.0f} s:"
                f" {self.worker} mails now"
            )
        return self.lease is not None

    def resign(self) -> None:
        """Let another worker lead at once."""
        lease, self.lease = self.lease, None
        if lease is not None:
            self._outbox.resign(lease)

    async def work(self, *, last: bool = False) -> bool:
        """Write the digests that are due, then try every mail that is due once.

        Returns False when something that is due is left to another worker, which leads. `last` is for the end of a
        process whose outbox ends with it: every error that no mail has reported is due.
        """
        tried: set[int] = set()
        try:
            while (options := self.mail) is not None:
                if not self.lead() or self.lease is None:
                    return self.idle
                self._write_digests(options, self.lease, last=last)
                mail = self._next(self.lease, options)
                if mail is None or mail.id in tried:
                    return True
                tried.add(mail.id)
                await self._deliver(mail, options)
        except LeaseLost:
            self.lease = None
            return False
        return True

    def _due(self, *, last: bool = False) -> list[str]:
        """The groups that the next digest reports; none while the one before is too fresh."""
        if not last and self._outbox.digests_within(self._options.batch_seconds):
            return []
        return self._outbox.due(0.0 if last else self._options.window_seconds)

    def _write_digests(self, mail: MailOptions, lease: Lease, *, last: bool) -> None:
        options = self._options
        due = self._due(last=last)
        if not due:
            return
        if cap(self._outbox, options).spent:
            self._hold()
            return
        groups = [group for key in due if (group := self._outbox.group(key)) is not None]
        # From the outbox, not from memory: the leader of then may be another process.
        ages, now = self._outbox.latest_digests(options.mails_per_hour), self._outbox.wall()
        since = held_since(groups, [now - age for age in ages], options)
        digest = Digest(groups, socket.gethostname(), options.mails_per_hour, since)
        self._outbox.begin_mail(
            _finished(digest, "digest", mail, mail.admins),
            {group.fingerprint: group.count - group.reported for group in groups},
            [
                _finished(replace(digest, groups=some), "route", mail, to)
                for to, some in readers(options.routes, groups, besides=mail.admins)
            ],
            lease=lease,
        )
        if self._holding:
            self._holding = False
            logger.info("Digests leave again: fewer than %d left within the hour", options.mails_per_hour)

    def _hold(self) -> None:
        if not self._holding:
            self._holding = True
            most = counted(self._options.mails_per_hour, "digest")
            _tell(f"The cap of {most} an hour is reached: groups go on counting")

    def _next(self, lease: Lease, options: MailOptions) -> StoredMail | None:
        if self._outbox.now() < self._away_until:
            return None
        return self._outbox.claim(lease, grace=options.timeout + MARGIN)

    async def _deliver(self, mail: StoredMail, options: MailOptions) -> None:
        began = self._outbox.now()
        if (receipt := self._accepted.get(mail.id)) is None:
            self.counters.retried += mail.tries > 0
            try:
                receipt = await send(mail.data, options, mail.recipients)
            except MailFailed as error:
                self._put_back(mail, error)
                return
            except BaseException as error:  # noqa: BLE001  one mail must not hold up all others for ever
                reraise_cancellation(error)
                self._put_back(mail, MailFailed(describe(error)))
                return
        # Should the outbox fail to note it, the mail must not leave again with every look.
        self._accepted[mail.id] = receipt
        if self._note(mail, receipt, self._outbox.now() - began):
            del self._accepted[mail.id]

    def _note(self, mail: StoredMail, receipt: Receipt, took: float) -> bool:
        """Whether the outbox has noted it; not while the mail's row is on a disk that is away."""
        if receipt.refused:
            served = [address for address in mail.recipients if address not in receipt.refused]
            noted = self._split(mail, served, receipt.refused, self._pause(mail.tries + 1))
        else:
            noted = self._outbox.sent(mail.id, receipt.answer)
        self.counters.mailed += 1
        self.counters.latency.note(mail.age + took)
        if self._failures:
            logger.info("The mail server takes mail again, after %s", counted(self._failures, "try", "tries"))
            self._failures = 0
        return noted

    def _put_back(self, mail: StoredMail, error: MailFailed) -> None:
        if error.unavailable:
            self._failures += 1
            wait = self._pause(self._failures)
            self._away_until = self._outbox.now() + min(wait, AWAY)
        else:
            wait = self._pause(mail.tries + 1)
        left = self._options.retry_for - mail.tried_for
        if (error.permanent and not error.unavailable) or left <= 0:
            self._give_up(mail, error)
            return
        wait = min(wait, left)
        if refused_for_good(error.refused):
            self._split(mail, [], error.refused, wait)
        else:
            self._outbox.failed(mail.id, str(error), wait)
        if self._failures == 1 if error.unavailable else mail.tries == 0:
            _tell(_named(mail, f"was not sent: {error}; it is tried again"))

    def _give_up(self, mail: StoredMail, error: MailFailed) -> None:
        self._outbox.dead(mail.id, str(error))
        self.counters.dead += 1
        _tell(_named(mail, f"was not sent and is given up: {error}; it is kept as a dead letter"))

    def _split(self, mail: StoredMail, served: Sequence[str], refused: Mapping[str, str], wait: float) -> bool:
        """Each recipient goes a way of its own: served, given up, or waiting for the next try."""
        for_good = refused_for_good(refused)
        waiting = [address for address in refused if address not in for_good]
        noted = self._outbox.partly(mail.id, served, for_good, waiting)
        if waiting:
            self._outbox.failed(mail.id, _sentence(refused), wait)
        if for_good:
            self.counters.dead += 1
            _tell(_named(mail, f"was refused for {_sentence(for_good)}; that part is kept as a dead letter"))
        return noted

    def _pause(self, failures: int) -> float:
        return pause(failures, self._options, self._chance())


def _finished(digest: Digest, kind: Kind, options: MailOptions, to: Sequence[str]) -> NewMail:
    message = digest.message(options, to)
    return NewMail(message["Message-ID"], message["Subject"], wire_form(message), tuple(map(bare_address, to)), kind)


def _sentence(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{address}: {words}" for address, words in refused.items())


def _named(mail: StoredMail, what: str) -> str:
    """A sentence about the mail; of product mail neither subject nor reader is told, they are a visitor's."""
    if mail.kind != "post":
        return f"The mail {mail.subject!r} {what}"
    for address in mail.recipients:
        what = what.replace(address, "***")
    return f"The posted mail {mail.id} {what}"


def _tell(text: str) -> None:
    report(text)
    logger.warning("%s", text)
