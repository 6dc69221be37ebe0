"""Events and finished mails -> one SQLite file a host -> the mailer, and commands and pages that show or change them.

Several processes and threads use the file together. While it cannot be used, everything here goes on
in memory, with one warning; what memory holds is merged into the file once that works again.
What is recorded survives the end of the process, mails survive a power cut as well.

An id is negative while its row is only in memory, and the row gets another id in the file. A change of a row that is
not there, because the disk went away or came back in between, changes nothing. So a mail whose sending could not be
noted may be sent a second time after an outage; it is never lost.
"""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING, Any

from ..grouping.event import Batch, tallies_of
from ..mail.message import wire_form
from ..options import MAX_AGE, MAX_BYTES, SAMPLES, OutboxOptions, bare_address
from ..own_log import describe, own_logger, report
from ..text import counted
from . import groups as group_rows
from . import mails as mail_rows
from . import retention as trimming
from . import workers as worker_rows
from .fallback import Storage
from .mails import NewMail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from ..grouping.event import Event, Tally
    from .database import Database
    from .groups import Group
    from .mails import State, StoredMail
    from .workers import Totals, Worker

logger = own_logger("outbox")

MEMORY_BYTES = 8 * 1024 * 1024
"""Bytes that events and mails take at most while they are only in memory."""


class Outbox:
    """One file, safe from any thread and process. Only `post` and `begin_mail` may raise, for a broken message."""

    def __init__(
        self,
        path: Path | None,
        *,
        max_age: float = MAX_AGE,
        max_bytes: int = MAX_BYTES,
        samples: int = SAMPLES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is opened before the first use; without a path nothing ever is, and all ends with the object.

        `max_age` is in seconds; `clock` gives epoch seconds.
        """
        self.path = path
        self._max_age = max_age
        self._max_bytes = max_bytes
        self._samples = samples
        self._clock = clock
        self._storage = Storage(path, clock)

    @classmethod
    def of(cls, options: OutboxOptions, clock: Callable[[], float] = time.time) -> Outbox:
        """The outbox the options describe."""
        return cls(
            options.path,
            max_age=options.max_age,
            max_bytes=options.max_bytes,
            samples=options.samples,
            clock=clock,
        )

    def reconfigure(self, options: OutboxOptions) -> None:
        """Use these bounds from now on; the file stays."""
        self._max_age, self._max_bytes, self._samples = options.max_age, options.max_bytes, options.samples

    @property
    def in_memory(self) -> bool:
        """Whether the file could not be used the last time, or there is none."""
        return self._storage.in_memory

    @property
    def healthy(self) -> bool:
        """Whether the file, if there is one, could be used the last time."""
        return self.path is None or not self._storage.in_memory

    def record(self, events: Sequence[Event] | Batch) -> int:
        """Count the events in, in one transaction; how many it has now. Never raises."""
        try:
            tallies = events.tallies() if isinstance(events, Batch) else tallies_of(events, self._samples)
            return self._record(tallies) if tallies else 0
        except Exception as error:  # noqa: BLE001  the listener must go on, and the file has the records
            _tell_of_loss(len(events), error)
            return 0

    def groups(self, *, resolved: bool | None = False, limit: int = 100, samples: int = 1) -> list[Group]:
        """The groups seen last, with their newest samples; `resolved=None` gives both kinds."""
        return self._storage.read(
            lambda database: group_rows.listed(database, resolved=resolved, limit=limit, samples=samples)
        )

    def group(self, key: int | str) -> Group | None:
        """The group with this id, with this error id among its samples, or with this fingerprint."""

        def look(database: Database) -> Group | None:
            found = group_rows.find(database, key)
            return None if found is None else group_rows.get(database, found, self._samples)

        return self._storage.read(look)

    def resolve(self, key: int | str) -> bool:
        """Say that the fault is mended; the next event reopens it. False for an unknown group."""

        def settle(database: Database) -> bool:
            found = group_rows.find(database, key)
            if found is not None:
                group_rows.resolve(database, found, self._clock())
            return found is not None

        return self._storage.write(settle, durable=True)

    def unreported(self, *, samples: int | None = None) -> list[Group]:
        """The unresolved groups with events nobody was mailed; `samples=0` is cheap in a storm."""
        wanted = self._samples if samples is None else samples
        return self._storage.read(lambda database: group_rows.unreported(database, wanted))

    def begin_mail(self, mail: NewMail, reported: Mapping[str, int], also: Sequence[NewMail] = ()) -> int:
        """Store a digest and what it reports, together; returns its id.

        `reported` gives for each fingerprint how many more of the group's events this mail reports. `also` are the
        mails to additional recipients that belong to it.
        """
        now = self._clock()

        def begin(database: Database) -> int:
            for fingerprint, more in reported.items():
                group_rows.mark_reported(database, fingerprint, more, now)
            database.execute("INSERT INTO digests VALUES (?)", (now,))
            number = mail_rows.add(database, mail, now)
            for other in also:
                mail_rows.add(database, other, now)
            return number

        return self._storage.write(begin, durable=True)

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """Store a product mail; returns its id when it is safe on disk, or a negative one while only memory works.

        The recipients may have display names: what is stored is the envelope. Raises what
        the standard library raises for a message that cannot be written as bytes.
        """
        if "Date" not in message:
            message["Date"] = email.utils.localtime()
        if "Message-ID" not in message:
            message["Message-ID"] = email.utils.make_msgid(domain="localhost")
        mail = NewMail(
            message_id=str(message["Message-ID"]),
            subject=str(message.get("Subject", "")),
            data=wire_form(message),
            recipients=tuple(map(bare_address, recipients)),
            kind="post",
        )
        return self._storage.write(lambda database: mail_rows.add(database, mail, self._clock()), durable=True)

    def next_mail(self, now: float) -> StoredMail | None:
        """The waiting mail whose time has come first."""
        return self._storage.read(lambda database: mail_rows.next_due(database, now))

    def sent(self, mail: int, answer: str, at: float) -> bool:
        """Note that all recipients that waited are served; False for a mail that is not there."""
        return self._change(lambda database: mail_rows.sent(database, mail, answer, at))

    def partly(self, mail: int, served: Sequence[str], refused: Mapping[str, str], waiting: Sequence[str]) -> bool:
        """Note that some are served. The refused become a dead letter of their own; `failed` says when the rest is due.

        False for a mail that is not there.
        """
        at, outcome = self._clock(), mail_rows.Outcome(tuple(served), dict(refused), tuple(waiting))
        return self._change(lambda database: mail_rows.partly(database, mail, outcome, at))

    def failed(self, mail: int, reason: str, next_try: float) -> bool:
        """Note that nobody was served; it is tried again at `next_try`. False for a mail that does not wait."""
        return self._change(lambda database: mail_rows.failed(database, mail, reason, next_try))

    def dead(self, mail: int, reason: str) -> bool:
        """Give it up unless somebody asks for a retry; False for a mail that is not there."""
        at = self._clock()
        return self._change(lambda database: mail_rows.dead(database, mail, reason, at))

    def mails(self, state: State | None = None, limit: int = 100) -> list[StoredMail]:
        """The newest mails."""
        return self._storage.read(lambda database: mail_rows.listed(database, state, limit))

    def retry(self, mail: int | None = None) -> int:
        """Make one, or every, dead or waiting mail due now; returns how many."""
        now = self._clock()
        return self._storage.write(lambda database: mail_rows.retry(database, mail, now), durable=True)

    def purge(self, *, before: float | None = None, dead: bool = False, sent: bool = False) -> int:
        """Remove dead or sent mails that ended before a time; returns how many. Waiting ones stay."""
        states: list[State] = [*(["dead"] if dead else []), *(["sent"] if sent else [])]  # type: ignore[list-item]
        return self._storage.write(lambda database: mail_rows.purge(database, before, states))

    def digests_since(self, at: float) -> int:
        """How many digests were begun since."""
        query = "SELECT count(*) FROM digests WHERE left >= ?"
        return self._storage.read(lambda database: int(database.execute(query, (at,)).fetchone()[0]))

    def latest_digests(self, limit: int) -> list[float]:
        """When the last digests were begun, the latest first."""
        query = "SELECT left FROM digests ORDER BY left DESC LIMIT ?"
        return self._storage.read(lambda database: [at for [at] in database.execute(query, (limit,))])

    def earliest_try(self) -> float | None:
        """When the next waiting mail is due."""
        return self._storage.read(mail_rows.earliest_try)

    def totals(self) -> Totals:
        """How much is open, waits or was given up; cheap, however much that is."""
        return self._storage.read(worker_rows.totals)

    def beat(self, worker: str, leader: bool, figures: Mapping[str, Any], at: float) -> None:  # noqa: FBT001
        """Say that the worker lives, and what it counts."""
        self._storage.write(lambda database: worker_rows.beat(database, worker, figures, at, leader=leader))

    def workers(self, newer_than: float) -> list[Worker]:
        """The workers whose last beat is newer."""
        return self._storage.read(lambda database: worker_rows.alive(database, newer_than))

    def housekeeping(self) -> None:
        """Forget what is too old and give the room back; about once a minute, by one process."""

        def clean(database: Database) -> int:
            unreported = trimming.by_age(database, self._clock(), self._max_age)
            trimming.to_size(database, self._bound(database))
            trimming.give_back(database)
            return unreported

        if unreported := self._storage.write(clean):
            days = self._max_age / trimming.DAY
            logger.warning("Errors forgotten after %g days, of which no mail has told: %d", days, unreported)

    def open(self) -> Path | None:
        """Open the file now, rather than at the first use. Raise OSError where it cannot be used.

        Returns where a damaged file was moved to, if a fresh one had to be begun. Without this call an outbox whose
        file cannot be used goes on in memory, and looks empty.
        """
        return self._storage.open()

    def close(self) -> None:
        """Close the file; a later use opens it again."""
        self._storage.close()

    def _record(self, tallies: Mapping[str, Tally]) -> int:
        try:
            self._storage.write(lambda database: self._add(database, tallies))
        except Exception:
            if len(tallies) == 1:
                raise
            # One event that cannot be stored must not take the others with it.
            stored = 0
            for key, tally in tallies.items():
                try:
                    stored += self._record({key: tally})
                except Exception as error:  # noqa: BLE001  see record
                    _tell_of_loss(tally.count, error)
            return stored
        return sum(tally.count for tally in tallies.values())

    def _add(self, database: Database, tallies: Mapping[str, Tally]) -> None:
        for key, tally in tallies.items():
            group_rows.add(database, key, tally, self._samples)
        trimming.to_size(database, self._bound(database))

    def _change(self, work: Callable[[Database], bool]) -> bool:
        return self._storage.write(work, durable=True)

    def _bound(self, database: Database) -> int:
        return min(self._max_bytes, MEMORY_BYTES) if database.in_memory else self._max_bytes


def _tell_of_loss(count: int, error: Exception) -> None:
    text = f"{counted(count, 'error')} could not be stored in the outbox: {describe(error)}"
    report(text)
    logger.warning("%s", text)
