"""Due groups -> digests in the outbox -> the mail server, one mail at a time, by the leader of the host.

A mail is in the outbox before its first byte leaves, and stays there until the server accepts or finally refuses it.
Every try sends the same bytes, so the same Message-ID. Only after a failed try that the outbox has noted, a digest with
more to report gets a new text. At most one digest waits, however long the mail server is away, and it reports
everything once it leaves. Once a week the leader also stores a summary, which the cap does not count.
"""

from __future__ import annotations

import math
import os
import random
import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from ..own_log import describe, own_logger, report, reraise_cancellation
from ..statistics import MailCounters
from ..store.mails import NewMail, Result, in_words, is_written
from ..store.workers import LeaseLost
from ..text import counted
from .addresses import bare_address
from .digest import Digest, held_note, undelivered_notes
from .message import wire_form
from .recipients import shares_of
from .schedule import cap, held_since, pause
from .smtp import MailFailed, Receipt, send
from .summary import stored, summary_mail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..options import MailingOptions, MailOptions
    from ..store.digests import Content
    from ..store.mails import StoredMail
    from ..store.outbox import Outbox
    from ..store.workers import Lease

logger = own_logger("mailer")

AWAY = 30.0
"""Seconds without a try at most, after a server was away, because a password reset must not wait for a long pause."""
RENEW = 0.5
"""Seconds between two times a leader renews its lease."""
MARGIN = 5.0
"""Seconds after the longest session with the mail server, until another leader sends a mail in flight."""
SUMMARY_LOOK = 1.0
"""Seconds between two looks whether the summary of a week is due."""
SUMMARY_PAUSE = 600.0
"""Seconds until the next look after a summary could not be composed."""
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
        self._sending = outbox.sending
        self.mail = mail
        self._options = options
        self._chance = chance
        self._cap_reached = False
        self._renewed = -math.inf
        self._away_until = -math.inf
        self._look_for_summary = -math.inf
        self._failures = 0
        # By Message-ID and recipients: ids change when memory is merged, and begin again in a new file.
        self._accepted: dict[tuple[str, tuple[str, ...]], Receipt] = {}

    def reconfigure(self, mail: MailOptions | None, options: MailingOptions) -> None:
        """Use these from the next mail on; a server that was away may be another one now."""
        self.mail, self._options = mail, options
        self._away_until = self._look_for_summary = -math.inf

    @property
    def idle(self) -> bool:
        """Whether the outbox has nothing that is due now, whichever process is to send it."""
        if self.mail is None:
            return True
        if self._sending.has_due_mail():
            return False
        return not self._digest_is_due() or cap(self._outbox, self._options).spent

    def lead(self) -> bool:
        """Take the lead of the host, or renew it; False while another worker has it. Call it every second."""
        now, before = self._sending.elapsed(), self.lease
        if before is not None and now - self._renewed < RENEW:
            return True
        self.lease, self._renewed = self._sending.lead(self.worker, before), now
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
            self._sending.resign(lease)

    async def work(self, *, last: bool = False) -> bool:
        """Try every mail that is due once, and begin a digest and the summary of a week if one is due.

        Return False if due mail is left to another worker, which leads. `last` is for the end of a process whose outbox
        is in memory: then every error that no mail has reported is due.
        """
        tried: set[int] = set()
        begun = False
        try:
            while (options := self.mail) is not None:
                if not self.lead() or self.lease is None:
                    return self.idle
                mail = self._next(self.lease, options)
                if mail is None and not begun:
                    begun = True
                    digest = self._begin_digest(options, self.lease, last=last)
                    if self._post_summary(options, self.lease) or digest:
                        continue
                if mail is None or mail.id in tried:
                    return True
                tried.add(mail.id)
                await self._try(mail, options, self.lease)
        except LeaseLost:
            self.lease = None
            return False
        return True

    def _digest_is_due(self, *, last: bool = False) -> bool:
        options = self._options
        return self._sending.digest_is_due(*(0.0, 0.0) if last else (options.window_seconds, options.batch_seconds))

    def _begin_digest(self, mail: MailOptions, lease: Lease, *, last: bool) -> bool:
        """Begin a digest if one is due and the cap allows it. Return whether it has begun."""
        if self._sending.elapsed() < self._away_until or not self._digest_is_due(last=last):
            return False
        most = self._options.mails_per_hour
        if cap(self._outbox, self._options).spent:
            if not self._cap_reached:
                _warn(f"The cap of {counted(most, 'digest')} an hour is reached: groups go on counting")
            self._cap_reached = True
            return False
        if self._cap_reached:
            self._cap_reached = False
            logger.info("Digests leave again: fewer than %d left within the hour", most)
        self._sending.begin_digest(_admins(mail), lease)
        return True

    def _post_summary(self, mail: MailOptions, lease: Lease) -> bool:
        """Store the summary of the week if it is due. Return whether there is one."""
        now = self._sending.elapsed()
        if now < self._look_for_summary:
            return False
        self._look_for_summary = now + SUMMARY_LOOK
        time = self._options.summary
        try:
            if (week := self._sending.week_due(time, lease)) is None or time is None:
                return False
            message = summary_mail(week, self._outbox.workers(), mail, self._host)
            return self._sending.post_summary(stored(message, mail), time, lease) is not None
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001  it must not hold up other mails
            self._look_for_summary = now + SUMMARY_PAUSE
            _warn(f"The summary of the week could not be composed, and is tried again: {describe(error)}")
            return False

    async def _try(self, mail: StoredMail, options: MailOptions, lease: Lease) -> None:
        """Send the mail, with its newest content, and note the result."""
        if is_written(mail.kind) or _mark(mail) in self._accepted:
            await self._deliver(mail, options, lease)
            return
        content = self._sending.content(mail.id)
        if content is None:
            return
        composed: StoredMail | None = mail
        if not content.fixed and content.shares and (content.stale or _recipients(mail, options) != mail.recipients):
            composed = self._composed(mail, content, options)
        elif not content.fixed and not content.shares and (content.stale or mail.kind == "digest"):
            self._withdraw(mail, content)
            return
        if composed is not None:
            if mail.kind == "digest":
                self._hand_over(composed, content, options.admins, lease)
            await self._deliver(composed, options, lease)

    def _withdraw(self, mail: StoredMail, content: Content) -> None:
        if not self._sending.withdraw(mail.id, mail.token):
            return
        if content.deleted:
            _warn(_named(mail, f"to {', '.join(mail.recipients)} was not sent: the outbox has deleted its errors"))
        else:
            logger.info("%s", _named(mail, "is not needed any more: its errors were reported, resolved or muted"))

    def _composed(self, mail: StoredMail, content: Content, options: MailOptions) -> StoredMail | None:
        """Return the digest or copy with a new text; None if another leader has it."""
        most, to = self._options.mails_per_hour, _recipients(mail, options)
        notes = list(undelivered_notes(content.undelivered))
        if mail.kind == "digest":
            now = self._outbox.wall()
            left = [now - age for age in self._sending.latest_digests(most)]
            if (since := held_since(content.groups, left, self._options)) is not None:
                notes.insert(0, held_note(since, most))
        more = content.shares[len(content.groups) :]
        digest = Digest(content.groups, self._host, notes, len(more), sum(share.new for share in more))
        known = (*options.admins, *(address for reader in self._options.readers for address in reader.to))
        names = {bare_address(address): address for address in known}
        message = digest.message(options, [names.get(address, address) for address in to], most=content.most)
        new = NewMail(message["Message-ID"], message["Subject"], wire_form(message), to, mail.kind)
        if not self._sending.compose(mail.id, new, content, mail.token):
            return None
        return replace(mail, message_id=new.message_id, subject=new.subject, data=new.data, recipients=to)

    def _hand_over(
        self, mail: StoredMail, content: Content, besides: Sequence[str], lease: Lease, *, accepted: bool = False
    ) -> None:
        """Give the other readers their errors of a digest: at its first try, and once the server has accepted it.

        In between they get more while the server puts the admins off, perhaps for days, if both limits allow a digest.
        """
        options, between = self._options, mail.tries > 0 and not accepted
        if between and (
            self._failures  # Nobody gets mail now.
            or self._sending.digests_within(options.batch_seconds)
            or cap(self._outbox, options).spent
        ):
            return
        if shares := shares_of(options.readers, content.added, besides=besides):
            self._sending.hand_over(content, shares, lease, counts=between)

    def _next(self, lease: Lease, options: MailOptions) -> StoredMail | None:
        if self._sending.elapsed() < self._away_until:
            return None
        return self._sending.claim(lease, grace=options.timeout + MARGIN)

    async def _deliver(self, mail: StoredMail, options: MailOptions, lease: Lease) -> None:
        began = self._sending.elapsed()
        if (receipt := self._accepted.get(_mark(mail))) is None:
            self.counters.retried += mail.tries > 0
            try:
                # Checked again, because this process may have been stopped since the claim.
                receipt = await send(mail.data, options, mail.recipients, check=lambda: self._sending.check(lease))
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
        if mail.kind == "digest" and self._options.readers and (content := self._sending.content(mail.id)) is not None:
            self._hand_over(mail, content, options.admins, lease, accepted=True)
        if self._note(mail, receipt, self._sending.elapsed() - began):
            del self._accepted[_mark(mail)]

    def _note(self, mail: StoredMail, receipt: Receipt, took: float) -> bool:
        """Note the result. Return False while the row of the mail is on a disk that is away."""
        result = _result(mail, receipt.answer, receipt, self._pause(mail.tries + 1))
        noted = self._sending.sent(mail.id, result)
        if noted:
            self._warn_given_up(mail, result)
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
            self._away_until = self._sending.elapsed() + min(wait, AWAY)
        else:
            wait = self._pause(mail.tries + 1)
        left = self._options.retry_for - mail.tried_for
        result = _result(mail, str(error), error, min(wait, left))
        if (error.permanent and not error.unavailable) or left <= 0:
            if self._sending.dead(mail.id, result, refused=not error.unavailable):
                self.counters.dead += 1
                _warn(_named(mail, f"was not sent and is given up: {error}; it is kept as a dead letter"))
            return
        noted = self._sending.failed(mail.id, result)
        if noted:
            self._warn_given_up(mail, result)
        if self._failures == 1 if error.unavailable else noted and mail.tries == 0:
            _warn(_named(mail, f"was not sent: {error}; it is tried again"))

    def _shortened(self, mail: StoredMail, error: MailFailed, options: MailOptions) -> bool:
        """Shorten a digest that is too big, due at once. Return False if that is impossible, as for a posted mail."""
        content = None if is_written(mail.kind) else self._sending.content(mail.id)
        if content is None or not content.shares:
            return False
        most = error.most or len(mail.data) // 2
        new = self._composed(mail, content._replace(most=most), options)
        if new is None or len(new.data) >= len(mail.data):
            return False
        self._sending.failed(mail.id, Result(str(error), token=mail.token))
        _warn(_named(mail, f"was not sent: {error}; it is sent shortened"))
        return True

    def _warn_given_up(self, mail: StoredMail, result: Result) -> None:
        if result.given_up:
            self.counters.dead += 1
            _warn(_named(mail, f"was refused for {in_words(result.given_up)}; that part is kept as a dead letter"))

    def _pause(self, failures: int) -> float:
        return pause(failures, self._options, self._chance())


async def send_due(outbox: Outbox, mail: MailOptions, mailing: MailingOptions, *, everything: bool = False) -> bool:
    """Try every mail that is due once, and begin a digest if one is due.

    With `everything`, all errors that no mail has reported are due. Return False if a worker leads and has not sent
    them yet.
    """
    sender = Sender(outbox, mail, mailing)
    try:
        return await sender.work(last=everything)
    finally:
        sender.resign()


def _recipients(mail: StoredMail, options: MailOptions) -> tuple[str, ...]:
    """Return the recipients of a mail; those of a digest are the admins of now."""
    return mail.recipients if mail.kind != "digest" else _admins(options)


def _admins(options: MailOptions) -> tuple[str, ...]:
    return tuple({bare_address(address): None for address in options.admins})


def _result(mail: StoredMail, answer: str, refusals: Receipt | MailFailed, wait: float) -> Result:
    given_up = {address: words for address, words in refusals.refused.items() if address in refusals.final}
    put_off = {address: words for address, words in refusals.refused.items() if address not in refusals.final}
    return Result(answer, given_up, put_off, wait, mail.token, mail.message_id)


def _mark(mail: StoredMail) -> tuple[str, tuple[str, ...]]:
    return mail.message_id, mail.recipients


def _named(mail: StoredMail, what: str) -> str:
    """Return a sentence about the mail, without subject and recipients of a posted mail: they are a visitor's data."""
    if mail.kind != "post":
        return f"The mail {mail.subject!r} {what}"
    for address in mail.recipients:
        # A server may write it in another case.
        what = re.sub(re.escape(address), "***", what, flags=re.IGNORECASE)
    return f"The posted mail {mail.id} {what}"


def _warn(text: str) -> None:
    report(text)
    logger.warning("%s", text)
