"""The leader of a host -> its lease, the digests that it begins, and the result of each try.

Only the sender calls these. Programs use Outbox, whose promise about the disk holds here, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import digests as digest_rows
from . import mails as mail_rows
from . import weeks
from . import workers as worker_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..mail.weekly import WeeklyTime
    from .clock import Moment
    from .database import Database
    from .digests import Content, Share
    from .fallback import Storage
    from .mails import NewMail, Result, StoredMail
    from .weeks import Week
    from .workers import Lease


class Sending:
    """What a sender reads and changes in the rows of an Outbox."""

    samples: int
    """Samples of a group that a content has."""

    def __init__(self, rows: Storage) -> None:
        """Share the rows of an outbox, which sets `samples`."""
        self._rows = rows
        self.elapsed = rows.clock.elapsed
        """Returns seconds since the boot, for times of this process that no row keeps: nothing makes them jump."""

    # The lead

    def lead(self, worker: str, lease: Lease | None = None) -> Lease | None:
        """Renew the lease, about once a second, or take the lead; None while another worker has it.

        A leader that has not renewed its lease for LEASE seconds loses it to the next worker that asks. Its mail in
        flight stays with it for a while, see `claim`. In memory a worker always leads, because no other sees it.
        """
        return self._rows.write(lambda database, at: worker_rows.lead(database, worker, lease, at.now), durable=False)

    def resign(self, lease: Lease) -> None:
        """Let another worker lead at once, after the last session with the mail server.

        Mails in flight are due again at once. If the lease was lost, nothing else changes.
        """
        self._rows.write(lambda database, _: worker_rows.resign(database, lease), durable=False)

    def check(self, lease: Lease) -> None:
        """Raise LeaseLost if the lease is no longer the current one."""
        self._rows.read(lambda database, _: worker_rows.check_lease(database, lease))

    # Digests

    def digests_within(self, seconds: float) -> int:
        """Return how many digests left, or were refused for good, less than so many seconds ago."""
        return self._rows.read(lambda database, at: digest_rows.within(database, seconds, at.now))

    def latest_digests(self, limit: int) -> list[float]:
        """Return how many seconds ago the last of these digests left, the latest first."""
        return self._rows.read(lambda database, at: digest_rows.latest(database, limit, at.now))

    def digest_is_due(self, window: float, batch: float) -> bool:
        """Return whether a digest is to begin; cheap, however many groups there are.

        None begins while another one waits, or within `batch` seconds after one left. Of the groups in
        `Outbox.unreported`, those make it due that no mail has reported, that came back after they were resolved, whose
        count has passed a power of two since the last mail, or whose last mail is `window` seconds old.
        """
        return self._rows.read(lambda database, at: digest_rows.is_due(database, window, batch, at.now))

    def begin_digest(self, recipients: Sequence[str], lease: Lease) -> int:
        """Store a digest that is due now, still without a text; return its id. Raise LeaseLost as `check` does."""

        def begin(database: Database, at: Moment) -> int:
            worker_rows.check_lease(database, lease)
            return digest_rows.begin(database, recipients, at.now)

        return self._rows.grow(begin, durable=False)

    def content(self, mail: int) -> Content | None:
        """Return what a digest or a copy is to report now; None for an unknown mail."""
        return self._rows.read(lambda database, at: digest_rows.content(database, mail, self.samples, at))

    def compose(self, mail: int, text: NewMail, content: Content, token: int | None = None) -> bool:
        """Give a digest or a copy this text and content. As in `failed`."""
        return self._rows.grow(lambda database, _: digest_rows.compose(database, mail, text, content, token))

    def hand_over(self, content: Content, copies: Mapping[str, Sequence[Share]], lease: Lease, *, counts: bool) -> None:
        """Add errors of a digest to the copies for these addresses. With `counts` the cap counts it like a digest.

        Raise LeaseLost as `check` does.
        """

        def add(database: Database, at: Moment) -> None:
            worker_rows.check_lease(database, lease)
            digest_rows.hand_over(database, content, copies, lease.token, at.now)
            if counts:
                digest_rows.count(database, at.now)

        self._rows.grow(add)

    def withdraw(self, mail: int, token: int | None = None) -> bool:
        """Remove a waiting mail that has nothing to report any more. As in `failed`."""
        return self._rows.write(lambda database, _: digest_rows.withdraw(database, mail, token), durable=False)

    # Summaries of a week

    def week_due(self, time: WeeklyTime | None, lease: Lease) -> Week | None:
        """Return the week whose summary is due now; None without any. Raise LeaseLost as `check` does.

        At the first call with another time, such as one after None, no week is due before the next such time.
        """

        def look(database: Database, at: Moment) -> tuple[Week | None, bool]:
            end = weeks.due(database, time, at)
            return None if end is None else weeks.week(database, at, end), weeks.is_planned(database, time)

        def begin(database: Database, at: Moment) -> None:
            worker_rows.check_lease(database, lease)
            weeks.begin(database, time, at)

        # Mostly nothing is due, and a read transaction blocks no writer.
        week, planned = self._rows.read(look)
        if week is None and not planned:
            self._rows.write(begin)
        return week

    def post_summary(self, mail: NewMail, time: WeeklyTime, lease: Lease) -> int | None:
        """Store the summary of the week that is due, which then is no longer due; return its id.

        Return None if none is due any more. Raise LeaseLost as `check` does.
        """

        def add(database: Database, at: Moment) -> int | None:
            worker_rows.check_lease(database, lease)
            if weeks.due(database, time, at) is None:
                return None
            weeks.note(database, time, at)
            return mail_rows.add(database, mail, at.now)

        return self._rows.grow(add)

    # Tries

    def has_due_mail(self) -> bool:
        """Return whether a waiting mail is due, whichever process is to send it."""
        return self._rows.read(lambda database, at: mail_rows.is_due(database, at.now))

    def claim(self, lease: Lease, *, grace: float) -> StoredMail | None:
        """Mark the next due mail as in flight and return it: posted mails first, then by time. None if none is due.

        A mail that an earlier leader has marked is left to it for `grace` seconds, in which its session with the mail
        server must have ended. Raise LeaseLost if the lease is no longer the current one.
        """

        def look(database: Database, at: Moment) -> bool:
            worker_rows.check_lease(database, lease)
            return mail_rows.is_due(database, at.now)

        def mark(database: Database, at: Moment) -> StoredMail | None:
            worker_rows.check_lease(database, lease)
            return mail_rows.claim(database, lease.token, grace, at)

        # Mostly no mail is due, and a read transaction blocks no writer.
        return self._rows.write(mark, durable=False) if self._rows.read(look) else None

    def sent(self, mail: int, result: Result) -> bool:
        """Note that the server accepted the mail, for all recipients that are not put off or given up.

        Those that are put off get a mail of their own. A mail that has got another text since it was sent goes on
        waiting. Return False for an unknown mail.
        """
        return self._rows.grow(lambda database, at: digest_rows.settle(database, mail, result, at))

    def failed(self, mail: int, result: Result) -> bool:
        """Note that no recipient was served. The mail waits for the next try, for all who are not given up.

        False for a mail that does not wait or, with the token of a lease, that this lease has not claimed.
        """
        return self._rows.grow(lambda database, at: digest_rows.put_back(database, mail, result, at.now))

    def dead(self, mail: int, result: Result, *, refused: bool = False) -> bool:
        """Give the mail up, unless an operator asks for a retry. As in `failed`.

        `refused`: the server refuses it for good, so the next digest shows its groups in one line each.
        """
        return self._rows.grow(
            lambda database, at: digest_rows.give_up(database, mail, result, at.now, refused=refused)
        )
