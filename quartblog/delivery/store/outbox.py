"""Events and finished mails -> one SQLite file a host -> the sender, and commands and pages.

Several processes and threads use the file together. While it cannot be used, all calls work in memory, after one
warning. The memory is merged into the file once that works again. Recorded errors survive the end of the process, and
mails survive a power cut as well.

An id is negative while its row is only in memory, and the row gets another id in the file. The disk may go away or
come back between two calls. A change of a row that is not there then changes nothing. So a mail may be sent twice
after an outage, if its first sending could not be noted; it is never lost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

from ..grouping.event import Batch, portions, tallies_of
from ..options import MAX_AGE, MAX_BYTES, SAMPLES, OutboxOptions
from ..own_log import describe, own_logger, report
from ..text import counted
from . import details, retention, search
from . import digests as digest_rows
from . import groups as group_rows
from . import mails as mail_rows
from . import workers as worker_rows
from .clock import SYSTEM
from .fallback import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from ..grouping.event import Event, Tally
    from .clock import Clock, Moment
    from .database import Database
    from .details import Details
    from .digests import Content, Share
    from .groups import Group
    from .mails import NewMail, Result, State, StoredMail
    from .search import GroupPage, Query
    from .workers import Leader, Lease, Totals, Worker

T = TypeVar("T")

logger = own_logger("outbox")


class Outbox:
    """The store of one host, safe from any thread and process.

    No method but `open` raises because of the disk: the others work in memory, and `healthy` is False. Each method
    names the other errors that it raises. All methods wait for the disk: in an event loop, use AsyncOutbox.
    """

    def __init__(self, options: OutboxOptions | None = None, *, clock: Clock = SYSTEM) -> None:
        """Open nothing before the first use. Without options everything is in the memory of this object."""
        self.path: Path | None = options.path if options else None
        self._rows = Storage(self.path, clock, MAX_BYTES)
        self.reconfigure(options)
        self.elapsed = self._rows.clock.elapsed
        """Returns seconds since the boot, for times of this process that no row keeps: nothing makes them jump."""
        self._beaten: set[str] = set()
        self.recent_losses: tuple[str, ...] = ()
        """What the full outbox dropped within an hour before the last heartbeat, in words without paths."""

    def reconfigure(self, options: OutboxOptions | None) -> None:
        """Use these bounds from now on; the path stays."""
        self._max_age = options.max_age if options else MAX_AGE
        self._rows.max_bytes = options.max_bytes if options else MAX_BYTES
        self._samples = options.samples if options else SAMPLES
        self._release = options.release if options else ""

    @property
    def in_memory(self) -> bool:
        """Whether the file could not be used the last time, or there is none."""
        return self._rows.in_memory

    @property
    def healthy(self) -> bool:
        """Whether the file, if there is one, could be used the last time."""
        return self.path is None or not self._rows.in_memory

    def now(self) -> float:
        """Return the steady time of the rows in seconds. It may jump when the file is opened: see `elapsed`."""
        return self._rows.clock.now()

    def wall(self) -> float:
        """Return epoch seconds, as the clock of this outbox has them."""
        return self._rows.clock.moment().wall

    def open(self) -> Path | None:
        """Open the file now, rather than at the first use. Raise OSError if it cannot be used.

        Return the new path of a damaged file that was replaced, if any. Without this call an outbox whose file cannot
        be used works in memory, and looks empty.
        """
        return self._rows.open()

    def close(self, timeout: float = -1) -> bool:
        """Close the file; a later use opens it again. False when another thread uses it for `timeout` seconds."""
        return self._rows.close(timeout)

    # Errors

    def record(self, events: Sequence[Event] | Batch) -> int:
        """Store the events, about a megabyte in a transaction; return how many were stored. Never raises."""
        try:
            tallies = events.tallies() if isinstance(events, Batch) else tallies_of(events, self._samples)
            return sum([self._record(portion) for portion in [*portions(tallies)]])
        except Exception as error:  # noqa: BLE001  the listener must go on, and the log file has the records
            _report_loss(len(events), error)
            return 0

    def groups(self, *, resolved: bool | None = False, limit: int = 100, samples: int = 1) -> list[Group]:
        """Return the groups that failed last, with their newest samples; `resolved=None` gives both kinds."""
        return self._rows.read(
            lambda database, at: group_rows.listed(database, resolved=resolved, limit=limit, samples=samples, at=at)
        )

    def group(self, key: int | str) -> Group | None:
        """Return the group with this id, with this error id among its samples, or with this fingerprint."""
        return self._look(key, lambda db, id_, at: group_rows.get(db, id_, self._samples, at))

    def page(self, query: Query) -> GroupPage:
        """Return one page of the groups that somebody looks for."""
        return self._rows.read(lambda database, at: search.page(database, query, at))

    def details(self, key: int | str, *, quoted: str = "", ids: int = 100) -> Details | None:
        """Return what is known of the group of this key, as in `group`, beside it, with its newest quotable ids.

        `quoted`: an error id, as somebody wrote it, to be looked up among the group's.
        """
        asked = group_rows.spellings(quoted)
        return self._look(key, lambda db, id_, at: details.of_group(db, id_, asked, at.ahead, ids))

    def resolve(self, key: int | str, *, who: str = "", note: str = "") -> bool:
        """Close the group of this key, as in `group`; its next event opens it again. False for an unknown group.

        The group's history shows who did this, and the note, here and below.
        """
        return self._change_group(key, "resolved", who, note, lambda db, id_, at: group_rows.resolve(db, id_, at.wall))

    def mute(self, key: int | str, seconds: float, more: int | None = None, *, who: str = "", note: str = "") -> bool:
        """Report the group in no mail for this many seconds; its errors still count. False for an unknown group.

        With `more`, report it in no mail until more than so many errors come within `seconds`, however long that takes.
        Raise ValueError for seconds that are not above 0, or not finite, and for `more` below 1.
        """
        if not 0 < seconds < math.inf:
            raise ValueError(f"a group is muted for a finite number of seconds above 0, not for {seconds}")
        if more is not None and more < 1:
            raise ValueError(f"a group is muted until 1 more error or further ones, not until {more}")
        return self._change_group(
            key, "muted", who, note, lambda db, id_, at: group_rows.mute(db, id_, seconds, more, at.now)
        )

    def reopen(self, key: int | str, *, who: str = "", note: str = "") -> bool:
        """Undo `resolve` and `mute`. False for an unknown group."""
        return self._change_group(key, "reopened", who, note, lambda db, id_, _: group_rows.reopen(db, id_))

    def note(self, key: int | str, text: str, *, who: str = "") -> bool:
        """Add a note to the group's history. False for an unknown group."""
        return self._change_group(key, "noted", who, text, lambda *_: True)

    def unreported(self, *, samples: int | None = None) -> list[Group]:
        """Return the groups with errors that no mail has reported, except resolved and muted ones."""
        wanted = self._samples if samples is None else samples
        return self._rows.read(lambda database, at: group_rows.unreported(database, wanted, at))

    # Mails

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """Store a mail of the program's own; return its id once it is on disk, a negative one while only memory works.

        Recipients may have display names; only their addresses are stored. Raise the standard library's error for a
        message that cannot be written as bytes.
        """
        mail = mail_rows.posted(message, recipients)
        return self._rows.grow(lambda database, at: mail_rows.add(database, mail, at.now))

    def digest_is_due(self, window: float, batch: float) -> bool:
        """Return whether a digest is to begin; cheap, however many groups there are.

        None begins while another one waits, or within `batch` seconds after one left. Of the groups in `unreported`,
        those make it due that no mail has reported, that came back after they were resolved, whose count has passed a
        power of two since the last mail, or whose last mail is `window` seconds old.
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
        return self._rows.read(lambda database, at: digest_rows.content(database, mail, self._samples, at))

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

    def check(self, lease: Lease) -> None:
        """Raise LeaseLost if the lease is no longer the current one."""
        self._rows.read(lambda database, _: worker_rows.check_lease(database, lease))

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

    def mails(self, state: State | None = None, limit: int = 100) -> list[StoredMail]:
        """Return the newest mails; `totals` counts all of them."""
        return self._rows.read(lambda database, at: mail_rows.listed(database, state, limit, at))

    def retry(self, mail: int | None = None) -> int:
        """Make one, or every, dead or waiting mail due now; return how many."""

        def make_due(database: Database, at: Moment) -> int:
            digest_rows.forget_refusals(database, mail)
            return mail_rows.retry(database, mail, at.now)

        return self._rows.write(make_due)

    def purge(self, *, older_than: float = 0.0, dead: bool = False, sent: bool = False) -> int:
        """Remove dead or sent mails that ended at least this many seconds ago; return how many. Waiting mails stay."""
        states: list[State] = [*(["dead"] if dead else []), *(["sent"] if sent else [])]  # type: ignore[list-item]
        return self._rows.write(lambda database, at: mail_rows.purge(database, at.now - older_than, states))

    def digests_within(self, seconds: float) -> int:
        """Return how many digests left, or were refused for good, less than so many seconds ago."""
        return self._rows.read(lambda database, at: digest_rows.within(database, seconds, at.now))

    def latest_digests(self, limit: int) -> list[float]:
        """Return how many seconds ago the last of these digests left, the latest first."""
        return self._rows.read(lambda database, at: digest_rows.latest(database, limit, at.now))

    # Workers

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

    def leader(self) -> Leader | None:
        """Return the leader, however long it has been silent; None if no worker leads."""
        return self._rows.read(lambda database, at: worker_rows.leader(database, at.now))

    def beat(self, worker: str, *, leader: bool, figures: Mapping[str, Any]) -> None:
        """Store a heartbeat of the worker, with its figures."""

        def note(database: Database, at: Moment) -> None:
            worker_rows.beat(database, worker, figures, at.now, leader=leader)
            self.recent_losses = retention.recent(database, at.now)
            if not database.in_memory:
                self._rows.digests = digest_rows.since(database, at.now - retention.DAY)

        self._beaten.add(worker)
        self._rows.write(note, durable=False)

    def leave(self, worker: str) -> None:
        """Delete the last heartbeat of the worker, if it has given one here: its process ends in good order."""
        if worker in self._beaten:
            self._beaten.remove(worker)
            self._rows.write(lambda database, _: worker_rows.leave(database, worker), durable=False)

    def workers(self, within: float = math.inf) -> list[Worker]:
        """Return the workers with a heartbeat within so many seconds, by name. Each is deleted a day after its last."""
        return self._rows.read(lambda database, at: worker_rows.alive(database, within, at))

    def totals(self) -> Totals:
        """Return the counts of groups, mails and losses. It is cheap, however large they are."""
        return self._rows.read(worker_rows.totals)

    def housekeeping(self) -> None:
        """Delete what is too old or too much, and return free pages to the disk. One process calls it once a minute."""
        more = True
        while more:
            lost, more = self._rows.write(
                lambda database, at: retention.by_age(database, at, self._max_age), durable=False
            )
            self._rows.losses.note(lost)
        self._rows.make_room()
        self._rows.write(lambda database, _: retention.give_back(database), durable=False)

    def _record(self, tallies: Mapping[str, Tally]) -> int:
        """Store the tallies in one transaction; return how many events were stored. Report the others."""

        def add(database: Database, at: Moment) -> None:
            for key, tally in tallies.items():
                group_rows.add(database, key, tally, self._samples, at, release=self._release)

        count = sum(tally.count for tally in tallies.values())
        try:
            self._rows.grow(add, durable=False)
        except Exception as error:  # noqa: BLE001  see record
            if len(tallies) == 1:
                _report_loss(count, error)
                return 0
            # One event that cannot be stored must not prevent the others.
            return sum(self._record({key: tally}) for key, tally in tallies.items())
        return count

    def _look(self, key: int | str, get: Callable[[Database, int, Moment], T | None]) -> T | None:
        def look(database: Database, at: Moment) -> T | None:
            found = group_rows.find(database, key)
            return None if found is None else get(database, found, at)

        return self._rows.read(look)

    def _change_group(
        self, key: int | str, what: str, who: str, note: str, change: Callable[[Database, int, Moment], bool]
    ) -> bool:
        def change_found(database: Database, at: Moment) -> bool:
            found = group_rows.find(database, key)
            if found is not None and change(database, found, at):
                details.note(database, found, details.Change(at.wall, who, what, note))
            return found is not None

        return self._rows.grow(change_found)


def _report_loss(count: int, error: Exception) -> None:
    text = f"{counted(count, 'error')} could not be stored in the outbox: {describe(error)}"
    report(text)
    logger.warning("%s", text)
