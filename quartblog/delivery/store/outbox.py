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

from ..grouping.event import Batch, tallies_of
from ..options import MAX_AGE, MAX_BYTES, SAMPLES, OutboxOptions
from ..own_log import describe, own_logger, report
from ..text import counted
from . import digest_contents, retention
from . import groups as group_rows
from . import mails as mail_rows
from . import workers as worker_rows
from .clock import SYSTEM
from .fallback import Storage

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from ..grouping.event import Event, Tally
    from .clock import Clock, Moment
    from .database import Database
    from .digest_contents import Report, TakenIn, Undelivered, WaitingDigest
    from .groups import Group
    from .mails import NewMail, Outcome, State, StoredMail
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
        self.reconfigure(options)
        self._storage = Storage(self.path, clock)
        self.elapsed = self._storage.clock.elapsed
        """Returns seconds since the boot, for times of this process that no row keeps: nothing makes them jump."""
        self._losses = retention.LossLog()
        self.recent_losses: tuple[str, ...] = ()
        """What the full outbox dropped within an hour before the last heartbeat, in words without paths."""

    def reconfigure(self, options: OutboxOptions | None) -> None:
        """Use these bounds from now on; the path stays."""
        self._max_age = options.max_age if options else MAX_AGE
        self._max_bytes = options.max_bytes if options else MAX_BYTES
        self._samples = options.samples if options else SAMPLES

    @property
    def in_memory(self) -> bool:
        """Whether the file could not be used the last time, or there is none."""
        return self._storage.in_memory

    @property
    def healthy(self) -> bool:
        """Whether the file, if there is one, could be used the last time."""
        return self.path is None or not self._storage.in_memory

    def now(self) -> float:
        """Return the steady time of the rows in seconds. It may jump when the file is opened: see `elapsed`."""
        return self._storage.clock.now()

    def wall(self) -> float:
        """Return epoch seconds, as the clock of this outbox has them."""
        return self._storage.clock.moment().wall

    def open(self) -> Path | None:
        """Open the file now, rather than at the first use. Raise OSError if it cannot be used.

        Return the new path of a damaged file that was replaced, if any. Without this call an outbox whose file cannot
        be used works in memory, and looks empty.
        """
        return self._storage.open()

    def close(self, timeout: float = -1) -> bool:
        """Close the file; a later use opens it again. False when another thread uses it for `timeout` seconds."""
        return self._storage.close(timeout)

    # Errors

    def record(self, events: Sequence[Event] | Batch) -> int:
        """Store the events in one transaction; return how many were stored. Never raises."""
        try:
            tallies = events.tallies() if isinstance(events, Batch) else tallies_of(events, self._samples)
            return self._record(tallies) if tallies else 0
        except Exception as error:  # noqa: BLE001  the listener must go on, and the log file has the records
            _report_loss(len(events), error)
            return 0

    def groups(self, *, resolved: bool | None = False, limit: int = 100, samples: int = 1) -> list[Group]:
        """Return the groups that failed last, with their newest samples; `resolved=None` gives both kinds."""
        return self._read(
            lambda database, at: group_rows.listed(database, resolved=resolved, limit=limit, samples=samples, at=at)
        )

    def group(self, key: int | str) -> Group | None:
        """Return the group with this id, with this error id among its samples, or with this fingerprint."""

        def look(database: Database, at: Moment) -> Group | None:
            found = group_rows.find(database, key)
            return None if found is None else group_rows.get(database, found, self._samples, at)

        return self._read(look)

    def resolve(self, key: int | str) -> bool:
        """Close the group of this key, as in `group`; its next event opens it again. False for an unknown group."""
        return self._change_group(key, lambda database, group, at: group_rows.resolve(database, group, at.wall))

    def mute(self, key: int | str, seconds: float) -> bool:
        """Report the group in no mail for this many seconds; its errors still count. False for an unknown group.

        Raise ValueError for seconds that are not above 0, or not finite.
        """
        if not 0 < seconds < math.inf:
            raise ValueError(f"a group is muted for a finite number of seconds above 0, not for {seconds}")
        return self._change_group(key, lambda database, group, at: group_rows.mute(database, group, at.now + seconds))

    def reopen(self, key: int | str) -> bool:
        """Undo `resolve` and `mute`. False for an unknown group."""
        return self._change_group(key, lambda database, group, _: group_rows.reopen(database, group))

    def unreported(self, *, samples: int | None = None) -> list[Group]:
        """Return the groups with errors that no mail has reported, except resolved and muted ones."""
        wanted = self._samples if samples is None else samples
        return self._read(lambda database, at: group_rows.unreported(database, wanted, at))

    def due(self, window: float) -> list[str]:
        """Return the fingerprints of the groups that the next digest is to report; cheap, however many there are.

        Of the groups in `unreported`, those that are new or came back after they were resolved, whose count has passed
        a power of two since the last mail, or whose last mail is `window` seconds old.
        """
        return self._read(lambda database, at: group_rows.due(database, window, at))

    # Mails

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """Store a mail of the program's own; return its id once it is on disk, a negative one while only memory works.

        Recipients may have display names; only their addresses are stored. Raise the standard library's error for a
        message that cannot be written as bytes.
        """
        mail = mail_rows.posted(message, recipients)
        return self._write(lambda database, at: mail_rows.add(database, mail, at.now))

    def begin_mail(  # noqa: PLR0913  keywords, each one part of the transaction
        self,
        mail: NewMail,
        reported: Mapping[str, int],
        also: Sequence[NewMail] = (),
        *,
        taken_in: Mapping[int, TakenIn] | None = None,
        announced: Sequence[int] = (),
        lease: Lease | None = None,
    ) -> int:
        """Store a digest and what it reports, together; return its id.

        `reported` gives for each fingerprint how many more of the group's events are reported now. `also` are the
        mails to further recipients that belong to it. The rest is as in `take_in`. With a lease, raise LeaseLost if it
        is no longer the current one; nothing is stored then. Raise UnicodeEncodeError for data that is no bytes.
        """
        return self._report_in([mail, *also], reported, taken_in or {}, announced, lease)

    def take_in(
        self,
        taken_in: Mapping[int, TakenIn],
        reported: Mapping[str, int],
        *,
        announced: Sequence[int] = (),
        lease: Lease | None = None,
    ) -> None:
        """Let waiting digests report more errors, with more notes; no new mail is stored.

        Raise NotWaiting for a digest that does not wait any more; nothing is changed then.
        `announced` are dead mails that these digests name. `reported` and the lease are as in `begin_mail`.
        """
        self._report_in([], reported, taken_in, announced, lease)

    def waiting_digests(self, lease: Lease) -> list[WaitingDigest]:
        """Return the digests that wait, except those that an earlier leader may be sending, the oldest first."""
        return self._read(lambda database, _: digest_contents.waiting(database, lease.token))

    def report(self, mail: int) -> Report | None:
        """Return what a digest reports; None for an unknown mail."""
        return self._read(lambda database, _: digest_contents.get(database, mail))

    def rewrite(self, mail: int, new: NewMail, *, most: int | None = None, token: int | None = None) -> bool:
        """Give a digest another text, of `most` bytes at most if the mail server has a bound. Else as in `failed`."""
        return self._write(lambda database, _: mail_rows.rewrite(database, mail, new, most, token))

    def undelivered(self) -> list[Undelivered]:
        """Return the digests that were given up and that no later one has named, the oldest first."""
        return self._read(lambda database, _: digest_contents.undelivered(database))

    def check(self, lease: Lease) -> None:
        """Raise LeaseLost if the lease is no longer the current one."""
        self._read(lambda database, _: worker_rows.check_lease(database, lease))

    def has_due_mail(self) -> bool:
        """Return whether a waiting mail is due, whichever process is to send it."""
        return self._read(lambda database, at: mail_rows.is_due(database, at.now))

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
        return self._write(mark, durable=False) if self._read(look) else None

    def sent(self, mail: int, answer: str) -> bool:
        """Note that all waiting recipients were served; False for an unknown mail."""
        return self._write(lambda database, at: mail_rows.sent(database, mail, answer, at.now))

    def partly(self, mail: int, outcome: Outcome, token: int | None = None) -> bool:
        """Note the result for each recipient; `failed` sets when the rest is due. Else as in `failed`."""
        return self._write(lambda database, at: mail_rows.partly(database, mail, outcome, at.now, token))

    def failed(self, mail: int, reason: str, wait: float, token: int | None = None) -> bool:
        """Note that no recipient was served, and retry in `wait` seconds.

        False for a mail that does not wait or, with the token of a lease, that this lease has not claimed.
        """
        return self._write(lambda database, at: mail_rows.failed(database, mail, reason, at.now + wait, token))

    def dead(self, mail: int, reason: str, token: int | None = None) -> bool:
        """Give the mail up, unless an operator asks for a retry. Else as in `failed`."""
        return self._write(lambda database, at: mail_rows.dead(database, mail, reason, at.now, token))

    def mails(self, state: State | None = None, limit: int = 100) -> list[StoredMail]:
        """Return the newest mails; `totals` counts all of them."""
        return self._read(lambda database, at: mail_rows.listed(database, state, limit, at))

    def retry(self, mail: int | None = None) -> int:
        """Make one, or every, dead or waiting mail due now; return how many."""
        return self._write(lambda database, at: mail_rows.retry(database, mail, at.now))

    def purge(self, *, older_than: float = 0.0, dead: bool = False, sent: bool = False) -> int:
        """Remove dead or sent mails that ended at least this many seconds ago; return how many. Waiting mails stay."""
        states: list[State] = [*(["dead"] if dead else []), *(["sent"] if sent else [])]  # type: ignore[list-item]
        return self._write(lambda database, at: mail_rows.purge(database, at.now - older_than, states))

    def digests_within(self, seconds: float) -> int:
        """Return how many digests were begun less than so many seconds ago."""
        return self._read(lambda database, at: mail_rows.digests_within(database, seconds, at.now))

    def latest_digests(self, limit: int) -> list[float]:
        """Return how many seconds ago the last digests were begun, the latest first."""
        return self._read(lambda database, at: mail_rows.latest_digests(database, limit, at.now))

    # Workers

    def lead(self, worker: str, lease: Lease | None = None) -> Lease | None:
        """Renew the lease, about once a second, or take the lead; None while another worker has it.

        A leader that has not renewed its lease for LEASE seconds loses it to the next worker that asks. Its mail in
        flight stays with it for a while, see `claim`. In memory a worker always leads, because no other sees it.
        """
        return self._write(lambda database, at: worker_rows.lead(database, worker, lease, at.now), durable=False)

    def resign(self, lease: Lease) -> None:
        """Let another worker lead at once, after the last session with the mail server.

        Mails in flight are due again at once. If the lease was lost, nothing else changes.
        """
        self._write(lambda database, _: worker_rows.resign(database, lease), durable=False)

    def leader(self) -> Leader | None:
        """Return the leader, however long it has been silent; None if no worker leads."""
        return self._read(lambda database, at: worker_rows.leader(database, at.now))

    def beat(self, worker: str, *, leader: bool, figures: Mapping[str, Any]) -> None:
        """Store a heartbeat of the worker, with its figures."""

        def note(database: Database, at: Moment) -> None:
            worker_rows.beat(database, worker, figures, at.now, leader=leader)
            self.recent_losses = retention.recent(database, at.now)
            self._storage.clock.note(database)
            if not database.in_memory:
                self._storage.digests = mail_rows.digests_since(database, at.now - retention.DAY)

        self._write(note, durable=False)

    def workers(self, within: float = math.inf) -> list[Worker]:
        """Return the workers with a heartbeat within so many seconds, by name. Each is deleted a day after its last."""
        return self._read(lambda database, at: worker_rows.alive(database, within, at))

    def totals(self) -> Totals:
        """Return the counts of groups, mails and losses. It is cheap, however large they are."""
        return self._read(worker_rows.totals)

    def housekeeping(self) -> None:
        """Delete what is too old or too much, and return free pages to the disk. One process calls it once a minute."""

        def clean(database: Database, at: Moment) -> Counter[str]:
            lost = retention.by_age(database, at.now, self._max_age)
            lost += retention.to_size(database, self._max_bytes, at.now)
            retention.give_back(database)
            return lost

        self._losses.note(self._write(clean, durable=False))

    def _record(self, tallies: Mapping[str, Tally]) -> int:
        def add(database: Database, at: Moment) -> Counter[str]:
            for key, tally in tallies.items():
                group_rows.add(database, key, tally, self._samples, at)
            return retention.to_size(database, self._max_bytes, at.now)

        try:
            self._losses.note(self._write(add, durable=False))
        except Exception:
            if len(tallies) == 1:
                raise
            # One event that cannot be stored must not prevent the others.
            stored = 0
            for key, tally in tallies.items():
                try:
                    stored += self._record({key: tally})
                except Exception as error:  # noqa: BLE001  see record
                    _report_loss(tally.count, error)
            return stored
        return sum(tally.count for tally in tallies.values())

    def _report_in(
        self,
        mails: Sequence[NewMail],
        reported: Mapping[str, int],
        taken_in: Mapping[int, TakenIn],
        announced: Sequence[int],
        lease: Lease | None,
    ) -> int:
        def note(database: Database, at: Moment) -> int:
            if lease is not None:
                worker_rows.check_lease(database, lease)
            for fingerprint, more in reported.items():
                group_rows.mark_reported(database, fingerprint, more, at.now)
            for waiting, taken in taken_in.items():
                digest_contents.take_in(database, waiting, taken)
            digest_contents.announce(database, announced)
            if mails:
                database.execute("INSERT INTO digests VALUES (?)", (at.now,))
            numbers = [mail_rows.add(database, mail, at.now) for mail in mails]
            return next(iter(numbers), 0)

        return self._write(note)

    def _change_group(self, key: int | str, change: Callable[[Database, int, Moment], None]) -> bool:
        def change_found(database: Database, at: Moment) -> bool:
            found = group_rows.find(database, key)
            if found is not None:
                change(database, found, at)
            return found is not None

        return self._write(change_found)

    def _read(self, work: Callable[[Database, Moment], T]) -> T:
        return self._storage.read(lambda database: work(database, self._storage.clock.moment()))

    def _write(self, work: Callable[[Database, Moment], T], *, durable: bool = True) -> T:
        # The moment is taken inside of the transaction, because opening the file may change the steady time.
        return self._storage.write(lambda database: work(database, self._storage.clock.moment()), durable=durable)


def _report_loss(count: int, error: Exception) -> None:
    text = f"{counted(count, 'error')} could not be stored in the outbox: {describe(error)}"
    report(text)
    logger.warning("%s", text)
