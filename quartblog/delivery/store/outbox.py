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
from typing import TYPE_CHECKING, TypeVar

from ..grouping.event import Batch, portions, tallies_of
from ..options import MAX_AGE, MAX_BYTES, SAMPLES, OutboxOptions
from ..own_log import describe, own_logger, report
from ..text import counted
from . import details, retention, search, weeks
from . import digests as digest_rows
from . import groups as group_rows
from . import mails as mail_rows
from . import workers as worker_rows
from .clock import SYSTEM
from .fallback import Storage
from .heartbeats import Heartbeats
from .sending import Sending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from ..grouping.event import Event, Tally
    from ..statistics import Statistics
    from .clock import Clock, Moment
    from .database import Database
    from .details import Details
    from .groups import Group
    from .mails import State, StoredMail
    from .search import GroupPage, Query
    from .weeks import Week
    from .workers import Leader, Totals, Worker

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
        self.sending = Sending(self._rows)
        """What only the process does that mails for the host."""
        self.heartbeats = Heartbeats(self._rows)
        """What each process says of itself."""
        self.reconfigure(options)

    def reconfigure(self, options: OutboxOptions | None) -> None:
        """Use these bounds from now on; the path stays."""
        self._max_age = options.max_age if options else MAX_AGE
        self._rows.max_bytes = options.max_bytes if options else MAX_BYTES
        self._samples = self.sending.samples = options.samples if options else SAMPLES
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

    def total(self, query: Query) -> int:
        """Return how many groups all pages of the query have."""
        return self._rows.read(lambda database, at: search.total(database, query, at))

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

    def mails(self, state: State | None = None, limit: int = 100) -> list[StoredMail]:
        """Return the newest mails; `totals` counts all of them."""
        return self._rows.read(lambda database, at: mail_rows.listed(database, state, limit, at))

    def retry(self, mail: int | None = None) -> int:
        """Make one, or every, dead or waiting mail due now; return how many."""

        def make_due(database: Database, at: Moment) -> int:
            digest_rows.forget_refusals(database, mail)
            return mail_rows.retry(database, mail, at.now)

        return self._rows.write(make_due)

    def purge(self, mail: int | None = None, *, older_than: float = 0.0, dead: bool = False, sent: bool = False) -> int:
        """Remove one mail, or the dead or sent ones that ended at least this many seconds ago; return how many.

        A mail that is named by its id goes in any state, and the other arguments do not count. Waiting mails stay
        otherwise. The next digest reports what a removed digest was to report to the admins. Nothing reports again what
        a copy was to report to its reader. A mail server may have got a mail that is removed while it is in flight.
        """
        if mail is not None:
            return self._rows.write(lambda database, _: int(digest_rows.discard(database, mail)))
        states: list[State] = [*(["dead"] if dead else []), *(["sent"] if sent else [])]  # type: ignore[list-item]
        return self._rows.write(lambda database, at: mail_rows.purge(database, at.now - older_than, states))

    # Workers

    def leader(self) -> Leader | None:
        """Return the leader, however long it has been silent; None if no worker leads."""
        return self._rows.read(lambda database, at: worker_rows.leader(database, at.now))

    def workers(self, within: float = math.inf) -> list[Worker]:
        """Return the workers with a heartbeat within so many seconds, by name.

        A worker is deleted when it ends in good order. Else it is deleted a day after its last heartbeat, if its
        process has ended.
        """
        return self._rows.read(lambda database, at: worker_rows.alive(database, within, at))

    def counts(self) -> Statistics:
        """Return the counts of all processes that ever gave a heartbeat, summed: none falls while the file lives.

        What is true only now, such as the length of a queue, is not in it: see `workers`.
        """
        return self._rows.read(lambda database, _: worker_rows.counts(database))

    def totals(self) -> Totals:
        """Return the counts of groups, mails and losses. It is cheap, however large they are."""
        return self._rows.read(worker_rows.totals)

    def week(self) -> Week:
        """Return the figures of the last seven days, as the weekly summary has them."""
        return self._rows.read(weeks.week)

    def housekeeping(self) -> None:
        """Delete what is too old or too much, and return free pages to the disk. One process calls it once a minute."""
        more = True
        while more:
            lost, more = self._rows.write(
                lambda database, at: retention.by_age(database, at, self._max_age), durable=False
            )
            self._rows.losses.note(lost)
        self._rows.write(lambda database, at: worker_rows.bury(database, at.now), durable=False)
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
            if found is None:
                return False
            changed = change(database, found, at)
            # A note stays, even if somebody else has resolved the group meanwhile.
            if changed or note:
                details.note(database, found, details.Change(at.wall, who, what if changed else "noted", note))
            return True

        return self._rows.grow(change_found)


def _report_loss(count: int, error: Exception) -> None:
    text = f"{counted(count, 'error')} could not be stored in the outbox: {describe(error)}"
    report(text)
    logger.warning("%s", text)
