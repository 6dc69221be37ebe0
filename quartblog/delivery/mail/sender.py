"""What the leader does: due groups -> digests in the outbox -> the mail server, one mail at a time.

A mail is in the outbox before the first byte of it leaves, and stays there until the server took it
or refused it for good. Every try sends the same bytes, so the same Message-ID.
"""

from __future__ import annotations

import math
import random
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ..interrupts import reraise_cancellation
from ..options import bare_address
from ..own_log import describe, own_logger, report
from ..statistics import MailCounters
from ..store.mails import NewMail
from ..text import counted
from .digest import Digest
from .message import wire_form
from .recipients import readers
from .schedule import cap, held_since, is_due, pause
from .smtp import MailFailed, Receipt, refused_for_good, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..options import MailingOptions, MailOptions
    from ..store.mails import Kind, StoredMail
    from ..store.outbox import Outbox

logger = own_logger("mailer")

AWAY = 30.0
"""Seconds a server that is away is left alone at most: a password reset must not wait for the end of a long pause."""


class Sender:
    """Knows no thread and no waiting: `work` does what is due at the time its clock tells, and returns."""

    def __init__(
        self,
        outbox: Outbox,
        mail: MailOptions | None,
        options: MailingOptions,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Without `mail` it does nothing. `clock` gives epoch seconds, `chance` a number from 0 to 1."""
        self.counters = MailCounters()
        self._outbox = outbox
        self.mail = mail
        self._options = options
        self.clock = clock
        self._chance = chance
        self._holding = False
        self._away: tuple[float, float] | None = None
        self._failures = 0
        self._accepted: dict[int, Receipt] = {}

    def reconfigure(self, mail: MailOptions | None, options: MailingOptions) -> None:
        """Use these from the next mail on; a server that was away may be another one now."""
        self.mail, self._options = mail, options
        self._away = None

    @property
    def idle(self) -> bool:
        """Whether nothing in the outbox is due now, whichever process is to send it."""
        now = self.clock()
        return self.mail is None or (self._outbox.next_mail(now) is None and not self._due(now))

    async def work(self, *, leads: Callable[[], bool] = lambda: True, last: bool = False) -> bool:
        """Write the digests that are due, then try every mail that is due once; False when some are left to others.

        `leads` tells whether this process may tell of and send what all of them see: asked each time, for who has
        the disk back finds there what is the others'. `last` is for the end of a process whose outbox ends with it:
        all that was not mailed yet is due.
        """
        tried: set[int] = set()
        while (options := self.mail) is not None:
            self._write_digests(options, leads, last=last)
            mail = self._next()
            if mail is None or mail.id in tried:
                return True
            tried.add(mail.id)
            # What only this process's memory holds, nobody else can send.
            if mail.id > 0 and not leads():
                return False
            await self._deliver(mail, options)
        return True

    def _due(self, now: float, *, last: bool = False) -> list[int]:
        """The groups the next digest tells of; none while the one before is too fresh."""
        if not last and self._left_within(self._options.batch_seconds, now):
            return []
        # Without their samples: in a storm most groups are not due at most looks.
        groups = self._outbox.unreported(samples=0)
        return [group.id for group in groups if last or is_due(group, now, self._options)]

    def _write_digests(self, mail: MailOptions, leads: Callable[[], bool], *, last: bool) -> None:
        now, options = self.clock(), self._options
        due = self._due(now, last=last)
        if not due:
            return
        if cap(self._outbox, options, now).spent:
            self._hold()
            return
        groups = [group for number in due if (group := self._outbox.group(number)) is not None]
        if any(group.id > 0 for group in groups) and not leads():
            return
        # From the outbox, not from memory: the leader of then may be another process.
        since = held_since(groups, self._outbox.latest_digests(options.mails_per_hour), options)
        digest = Digest(groups, socket.gethostname(), options.mails_per_hour, since)
        self._outbox.begin_mail(
            _finished(digest, "digest", mail, mail.admins),
            {group.fingerprint: group.count - group.reported for group in groups},
            [
                _finished(replace(digest, groups=some), "route", mail, to)
                for to, some in readers(options.routes, groups, besides=mail.admins)
            ],
        )
        if self._holding:
            self._holding = False
            logger.info("Digests leave again: fewer than %d left within the hour", options.mails_per_hour)

    def _left_within(self, seconds: float, now: float) -> int:
        """Digests that left less than so many seconds ago."""
        return self._outbox.digests_since(math.nextafter(now - seconds, math.inf))

    def _hold(self) -> None:
        if not self._holding:
            self._holding = True
            most = counted(self._options.mails_per_hour, "digest")
            _tell(f"The cap of {most} an hour is reached: groups go on counting")

    def _next(self) -> StoredMail | None:
        now = self.clock()
        # The first of the two only matters after the clock was set back.
        if self._away is not None and self._away[0] <= now < self._away[1]:
            return None
        return self._outbox.next_mail(now)

    async def _deliver(self, mail: StoredMail, options: MailOptions) -> None:
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
        if self._note(mail, receipt):
            del self._accepted[mail.id]

    def _note(self, mail: StoredMail, receipt: Receipt) -> bool:
        """Whether the outbox has noted it; not while the mail's row is on a disk that is away."""
        now = self.clock()
        if receipt.refused:
            served = [address for address in mail.recipients if address not in receipt.refused]
            noted = self._split(mail, served, receipt.refused, now + self._pause(mail.tries + 1))
        else:
            noted = self._outbox.sent(mail.id, receipt.answer, now)
        self.counters.mailed += 1
        self.counters.latency.note(max(0.0, now - mail.created))
        if self._failures:
            logger.info("The mail server takes mail again, after %s", counted(self._failures, "try", "tries"))
            self._failures = 0
        return noted

    def _put_back(self, mail: StoredMail, error: MailFailed) -> None:
        now = self.clock()
        if error.unavailable:
            self._failures += 1
            wait = self._pause(self._failures)
            self._away = (now, now + min(wait, AWAY))
        else:
            wait = self._pause(mail.tries + 1)
        end = mail.since + self._options.retry_for
        if (error.permanent and not error.unavailable) or now >= end:
            self._give_up(mail, error)
            return
        next_try = min(now + wait, end)
        if refused_for_good(error.refused):
            self._split(mail, [], error.refused, next_try)
        else:
            self._outbox.failed(mail.id, str(error), next_try)
        if self._failures == 1 if error.unavailable else mail.tries == 0:
            _tell(_named(mail, f"was not sent: {error}; it is tried again"))

    def _give_up(self, mail: StoredMail, error: MailFailed) -> None:
        self._outbox.dead(mail.id, str(error))
        self.counters.dead += 1
        _tell(_named(mail, f"was not sent and is given up: {error}; it is kept as a dead letter"))

    def _split(self, mail: StoredMail, served: Sequence[str], refused: Mapping[str, str], next_try: float) -> bool:
        """Each recipient goes a way of its own: served, given up, or waiting for the next try."""
        for_good = refused_for_good(refused)
        waiting = [address for address in refused if address not in for_good]
        noted = self._outbox.partly(mail.id, served, for_good, waiting)
        if waiting:
            self._outbox.failed(mail.id, _sentence(refused), next_try)
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
