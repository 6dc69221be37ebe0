"""Due groups -> digests in the outbox -> the mail server, one mail at a time, by the leader of the host.

A mail is in the outbox before its first byte leaves, and stays there until the server accepts or finally refuses it.
Every try sends the same bytes, so the same Message-ID. A digest that has taken in more errors while it waited, or that
is shortened, gets a new text. So at most one digest waits for each recipient, however long the mail server is away, and
it reports everything once it leaves.
"""

from __future__ import annotations

import math
import os
import random
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from ..interrupts import reraise_cancellation
from ..own_log import describe, own_logger, report
from ..statistics import MailCounters
from ..store.digest_contents import NotWaiting, TakenIn
from ..store.mails import NewMail, Outcome
from ..store.workers import LeaseLost
from ..text import counted
from .addresses import bare_address
from .digest import Digest, held_note, undelivered_notes
from .message import wire_form
from .recipients import shares_of
from .schedule import cap, held_since, pause
from .smtp import MailFailed, Receipt, refused_for_good, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..options import MailingOptions, MailOptions
    from ..store.digest_contents import Report, WaitingDigest
    from ..store.groups import Group
    from ..store.mails import Kind, StoredMail
    from ..store.outbox import Outbox
    from ..store.workers import Lease

logger = own_logger("mailer")

AWAY = 30.0
"""Seconds without a try at most, after a server was away, because a password reset must not wait for a long pause."""
RENEW = 1.0
"""Seconds between two times a leader renews its lease."""
MARGIN = 5.0
"""Seconds after the longest session with the mail server, until another leader sends a mail in flight."""
MOST_RECEIPTS = 100
"""Receipts that wait until the outbox can note them; an older one may belong to a file that is gone."""


class Sender:
    """Mails for one process, without a thread: `work` does what is due now, and returns."""

    def __init__(
        self,
        outbox: Outbox,
        mail: MailOptions | None,
        options: MailingOptions,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Without `mail` it does nothing. `chance` gives a number from 0 to 1."""
        self._host = socket.gethostname()
        self.worker = f"{self._host}:{os.getpid()}"
        self.lease: Lease | None = None
        self.counters = MailCounters()
        self._outbox = outbox
        self.mail = mail
        self._options = options
        self._chance = chance
        self._cap_reached = False
        self._renewed = -math.inf
        self._taken_in = -math.inf
        self._away_until = -math.inf
        self._failures = 0
        # By Message-ID and recipients: ids change when memory is merged, and begin again in a new file.
        self._accepted: dict[tuple[str, tuple[str, ...]], Receipt] = {}

    def reconfigure(self, mail: MailOptions | None, options: MailingOptions) -> None:
        """Use these from the next mail on; a server that was away may be another one now."""
        self.mail, self._options = mail, options
        self._away_until = -math.inf

    @property
    def idle(self) -> bool:
        """Whether the outbox has nothing that is due now, whichever process is to send it."""
        if self.mail is None:
            return True
        if self._outbox.has_due_mail():
            return False
        return not self._due() or cap(self._outbox, self._options).spent

    def lead(self) -> bool:
        """Take the lead of the host, or renew it; False while another worker has it. Call it every second."""
        now, before = self._outbox.elapsed(), self.lease
        if before is not None and now - self._renewed < RENEW:
            return True
        self.lease, self._renewed = self._outbox.lead(self.worker, before), now
        if self.lease is not None and self.lease.taken_from is not None:
            _warn(
                f"The leader {self.lease.taken_from} has not renewed its lease for {self.lease.silent:.0f} s:"
                f" {self.worker} mails for this host now"
            )
        return self.lease is not None

    def resign(self) -> None:
        """Let another worker lead at once."""
        lease, self.lease = self.lease, None
        if lease is not None:
            self._outbox.resign(lease)

    async def work(self, *, last: bool = False) -> bool:
        """Write the digests that are due, then try every mail that is due once.

        Return False if due mail is left to another worker, which leads. `last` is for the end of a process whose outbox
        is in memory: then every error that no mail has reported is due.
        """
        tried: set[int] = set()
        try:
            while (options := self.mail) is not None:
                if not self.lead() or self.lease is None:
                    return self.idle
                self._write_digests(options, self.lease, self._due(last=last))
                mail = self._next(self.lease, options)
                if mail is None or mail.id in tried:
                    return True
                tried.add(mail.id)
                if _mark(mail) not in self._accepted:
                    mail = self._complete(mail, options, self.lease)
                await self._deliver(mail, options, self.lease)
        except LeaseLost:
            self.lease = None
            return False
        except NotWaiting:  # The next round finds the digest again.
            return False
        return True

    def _due(self, *, last: bool = False) -> list[str]:
        """Return the groups of the next digest; none while the latest digest is too fresh."""
        batch = self._options.batch_seconds
        fresh = self._outbox.digests_within(batch) or self._outbox.elapsed() - self._taken_in < batch
        if fresh and not last:
            return []
        return self._outbox.due(0.0 if last else self._options.window_seconds)

    def _write_digests(self, mail: MailOptions, lease: Lease, due: Sequence[str]) -> None:
        """Report the groups to each recipient, in the digest that waits for it, else in a new one."""
        options = self._options
        if not due:
            return
        # A digest that the mail server has accepted takes nothing in, even if the outbox could not note that yet.
        in_outbox = [digest for digest in self._outbox.waiting_digests(lease) if _mark(digest) not in self._accepted]
        # The cap decides only about new digests: one that waits costs no further mail.
        spent = cap(self._outbox, options).spent
        if spent and _split_waiting(in_outbox, "digest", mail.admins)[1]:
            self._note_cap()
            return
        undelivered = self._outbox.undelivered()
        keys = dict.fromkeys((*due, *(key for each in undelivered for key in each.counts)))
        found = [group for key in keys if (group := self._outbox.group(key)) is not None]
        groups = [group for group in found if group.count > group.reported]
        notes = [*([] if spent else self._held_note(groups)), *undelivered_notes(undelivered)]
        new: list[NewMail] = []
        taken_in: dict[int, TakenIn] = {}
        shares = [(mail.admins, groups), *shares_of(options.readers, groups, besides=mail.admins)]
        for number, (to, share) in enumerate(shares):
            kind: Kind = "route" if number else "digest"
            more = TakenIn(
                {group.fingerprint: group.count - group.reported for group in share}, [] if number else notes
            )
            waiting, others = _split_waiting(in_outbox, kind, to)
            taken_in |= dict.fromkeys(waiting, more)
            if others:
                new.append(_finished(Digest(share, self._host, more.notes), kind, mail, others, more))
        reported = {group.fingerprint: group.count - group.reported for group in groups}
        announced = [each.id for each in undelivered]
        if new and spent:
            self._note_cap()
            return
        if new:
            first, *also = new
            self._outbox.begin_mail(first, reported, also, taken_in=taken_in, announced=announced, lease=lease)
        else:
            self._outbox.take_in(taken_in, reported, announced=announced, lease=lease)
            self._taken_in = self._outbox.elapsed()
        if self._cap_reached and not spent:
            self._cap_reached = False
            logger.info("Digests leave again: fewer than %d left within the hour", options.mails_per_hour)

    def _held_note(self, groups: Sequence[Group]) -> list[str]:
        # From the outbox, because another process may have been the leader then.
        per_hour = self._options.mails_per_hour
        ages, now = self._outbox.latest_digests(per_hour), self._outbox.wall()
        since = held_since(groups, [now - age for age in ages], self._options)
        return [] if since is None else [held_note(since, per_hour)]

    def _complete(self, mail: StoredMail, options: MailOptions, lease: Lease) -> StoredMail:
        """Return the mail to send. A digest that has waited also reports the errors since then."""
        if mail.kind == "post":
            return mail
        if mail.tries and set(mail.recipients) == set(map(bare_address, options.admins)):
            self._write_digests(options, lease, self._due(last=True))
        report = self._outbox.report(mail.id)
        if report is None or not report.stale:
            return mail
        return self._rewritten(mail, report, options, report.most) or mail

    def _rewritten(self, mail: StoredMail, report: Report, options: MailOptions, most: int | None) -> StoredMail | None:
        """Return the digest with a new text; None without its groups, or if another leader has the mail."""
        groups = [
            replace(group, reported=max(0, group.count - count))
            for key, count in report.counts.items()
            if (group := self._outbox.group(key)) is not None
        ]
        if not groups:
            return None
        names = {bare_address(address): address for address in options.admins}
        to = [names.get(address, address) for address in mail.recipients]
        new = _finished(Digest(groups, self._host, report.notes), mail.kind, options, to, most=most)
        if not self._outbox.rewrite(mail.id, new, most=most, token=mail.token):
            return None
        return replace(mail, message_id=new.message_id, subject=new.subject, data=new.data)

    def _note_cap(self) -> None:
        if not self._cap_reached:
            self._cap_reached = True
            most = counted(self._options.mails_per_hour, "digest")
            _warn(f"The cap of {most} an hour is reached: groups go on counting")

    def _next(self, lease: Lease, options: MailOptions) -> StoredMail | None:
        if self._outbox.elapsed() < self._away_until:
            return None
        return self._outbox.claim(lease, grace=options.timeout + MARGIN)

    async def _deliver(self, mail: StoredMail, options: MailOptions, lease: Lease) -> None:
        began = self._outbox.elapsed()
        if (receipt := self._accepted.get(_mark(mail))) is None:
            self.counters.retried += mail.tries > 0
            try:
                # Checked again, because this process may have been stopped since the claim.
                receipt = await send(mail.data, options, mail.recipients, check=lambda: self._outbox.check(lease))
            except LeaseLost:
                raise
            except MailFailed as error:
                if not (error.too_big and self._shortened(mail, error, options)):
                    self._put_back(mail, error)
                return
            except BaseException as error:  # noqa: BLE001  one mail must not hold up all others
                reraise_cancellation(error)
                self._put_back(mail, MailFailed(describe(error)))
                return
        # Kept until the outbox has noted it, so that no further round sends the mail again.
        self._accepted[_mark(mail)] = receipt
        if len(self._accepted) > MOST_RECEIPTS:
            del self._accepted[next(iter(self._accepted))]
        if self._note(mail, receipt, self._outbox.elapsed() - began):
            del self._accepted[_mark(mail)]

    def _note(self, mail: StoredMail, receipt: Receipt, took: float) -> bool:
        """Note the result. Return False while the row of the mail is on a disk that is away."""
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
            self._away_until = self._outbox.elapsed() + min(wait, AWAY)
        else:
            wait = self._pause(mail.tries + 1)
        left = self._options.retry_for - mail.tried_for
        if (error.permanent and not error.unavailable) or left <= 0:
            self._give_up(mail, error)
            return
        wait = min(wait, left)
        if refused_for_good(error.refused):
            noted = self._split(mail, [], error.refused, wait)
        else:
            noted = self._outbox.failed(mail.id, str(error), wait, mail.token)
        if self._failures == 1 if error.unavailable else noted and mail.tries == 0:
            _warn(_named(mail, f"was not sent: {error}; it is tried again"))

    def _shortened(self, mail: StoredMail, error: MailFailed, options: MailOptions) -> bool:
        """Shorten a digest that is too big, due at once. Return False if that is impossible, as for a posted mail."""
        report = None if mail.kind == "post" else self._outbox.report(mail.id)
        if report is None:
            return False
        new = self._rewritten(mail, report, options, error.most or len(mail.data) // 2)
        if new is None or len(new.data) >= len(mail.data):
            return False
        self._outbox.failed(mail.id, str(error), 0.0, mail.token)
        _warn(_named(mail, f"was not sent: {error}; it is sent shortened"))
        return True

    def _give_up(self, mail: StoredMail, error: MailFailed) -> None:
        if not self._outbox.dead(mail.id, str(error), mail.token):
            return
        self.counters.dead += 1
        _warn(_named(mail, f"was not sent and is given up: {error}; it is kept as a dead letter"))

    def _split(self, mail: StoredMail, served: Sequence[str], refused: Mapping[str, str], wait: float) -> bool:
        """Note for each recipient whether it is served, given up, or waits for the next try."""
        for_good = refused_for_good(refused)
        waiting = [address for address in refused if address not in for_good]
        noted = self._outbox.partly(mail.id, Outcome(served, for_good, waiting), mail.token)
        if waiting:
            self._outbox.failed(mail.id, _sentence(refused), wait, mail.token)
        if noted and for_good:
            self.counters.dead += 1
            _warn(_named(mail, f"was refused for {_sentence(for_good)}; that part is kept as a dead letter"))
        return noted

    def _pause(self, failures: int) -> float:
        return pause(failures, self._options, self._chance())


async def send_due(outbox: Outbox, mail: MailOptions, mailing: MailingOptions, *, everything: bool = False) -> bool:
    """Write the digests that are due, and try every mail that is due once.

    With `everything`, all errors that no mail has reported are due. Return False if a worker leads and has not sent
    them yet.
    """
    sender = Sender(outbox, mail, mailing)
    try:
        return await sender.work(last=everything)
    finally:
        sender.resign()


def _finished(  # noqa: PLR0913  each is one part of the mail
    digest: Digest,
    kind: Kind,
    options: MailOptions,
    to: Sequence[str],
    report: TakenIn | None = None,
    *,
    most: int | None = None,
) -> NewMail:
    message = digest.message(options, to, most=most)
    recipients = tuple(map(bare_address, to))
    more = report or TakenIn({})
    return NewMail(
        message["Message-ID"], message["Subject"], wire_form(message), recipients, kind, more.counts, tuple(more.notes)
    )


def _mark(mail: StoredMail | WaitingDigest) -> tuple[str, tuple[str, ...]]:
    return mail.message_id, mail.recipients


def _split_waiting(
    digests: Sequence[WaitingDigest], kind: Kind, to: Sequence[str]
) -> tuple[list[int], tuple[str, ...]]:
    """Return the digests that wait for some of these recipients, and the recipients without one."""
    left = {bare_address(address): address for address in to}
    waiting = []
    for digest in digests:
        if digest.kind == kind and set(digest.recipients) <= left.keys():
            waiting.append(digest.id)
            for address in digest.recipients:
                del left[address]
    return waiting, tuple(left.values())


def _sentence(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{address}: {words}" for address, words in refused.items())


def _named(mail: StoredMail, what: str) -> str:
    """Return a sentence about the mail, without subject and recipients of a posted mail: they are a visitor's data."""
    if mail.kind != "post":
        return f"The mail {mail.subject!r} {what}"
    for address in mail.recipients:
        what = what.replace(address, "***")
    return f"The posted mail {mail.id} {what}"


def _warn(text: str) -> None:
    report(text)
    logger.warning("%s", text)
