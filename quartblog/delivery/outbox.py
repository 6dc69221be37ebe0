"""Events and finished mails -> one SQLite file a host -> whoever groups, mails or shows them.

Several processes and threads use the file together. While it cannot be used, everything here goes on
in memory, with one warning; what memory holds is merged into the file once that works again.
What is recorded survives the end of the process, mails survive a power cut as well.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import group_rows, mail_rows, trimming, worker_rows
from .batches import Batch, tallies_of
from .mail import wire_form
from .outbox_options import MAX_AGE, MAX_BYTES, SAMPLES, OutboxOptions
from .stderr import describe, report
from .storage import Storage
from .stored import Group, Kind, NewMail, State, StoredMail, Worker

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

    from .batches import Tally
    from .database_file import Database
    from .events import Event

__all__ = ["Batch", "Group", "Kind", "NewMail", "Outbox", "OutboxOptions", "State", "StoredMail", "Worker"]

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
        self._version: object = None

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

    @property
    def in_memory(self) -> bool:
        """Whether the file could not be used the last time, or there is none."""
        return self._storage.in_memory

    @property
    def healthy(self) -> bool:
        """Whether the file, if there is one, could be used the last time."""
        return self.path is None or not self._storage.in_memory

    def record(self, events: Sequence[Event] | Batch) -> None:
        """Count the events in, in one transaction. Never raises."""
        if not len(events):
            return
        try:
            tallies = events.tallies() if isinstance(events, Batch) else tallies_of(events, self._samples)
            self._storage.write(lambda database: self._add(database, tallies))
        except Exception as error:  # noqa: BLE001  the listener must go on, and the file has the records
            report(f"{len(events)} errors could not be stored in the outbox: {describe(error)}")

    def groups(self, *, resolved: bool | None = False, limit: int = 100, samples: int = 1) -> list[Group]:
        """The groups seen last, with their newest samples; `resolved=None` gives both kinds."""
        return self._storage.read(
            lambda database: group_rows.listed(database, resolved=resolved, limit=limit, samples=samples)
        )

    def group(self, key: int | str) -> Group | None:
        """The group with this id, with this error id among its samples, or with this fingerprint."""

        def look(database: Database) -> Group | None:
            found = self._find(database, key)
            return None if found is None else group_rows.get(database, found, self._samples)

        return self._storage.read(look)

    def resolve(self, key: int | str) -> bool:
        """Say that the fault is mended; the next event reopens it. False for an unknown group."""

        def settle(database: Database) -> bool:
            found = self._find(database, key)
            return found is not None and group_rows.resolve(database, found, self._clock())

        return self._storage.write(settle, durable=True)

    def unreported(self, *, samples: int | None = None) -> list[Group]:
        """The unresolved groups with events nobody was mailed; `samples=0` is cheap in a storm."""
        wanted = self._samples if samples is None else samples
        return self._storage.read(lambda database: group_rows.unreported(database, wanted))

    def begin_mail(self, mail: NewMail, reported: Mapping[int, int], also: Sequence[NewMail] = ()) -> int:
        """Store a digest and what it reports, together; returns its id.

        `reported` gives the count each group has in this digest, in all. `also` are the mails to
        additional recipients that belong to it.
        """
        now = self._clock()

        def begin(database: Database) -> int:
            for group, count in reported.items():
                self._storage.on_row(database, "groups", group, _marking(count, now))
            database.execute("INSERT INTO digests VALUES (?)", (now,))
            number = mail_rows.add(database, mail, now)
            for other in also:
                mail_rows.add(database, other, now)
            return number

        return self._storage.write(begin, durable=True)

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """Store a product mail; returns its id when it is safe on disk, or a negative one while only memory works.

        Raises what the standard library raises for a message that cannot be written as bytes.
        """
        if "Date" not in message:
            message["Date"] = email.utils.localtime()
        if "Message-ID" not in message:
            message["Message-ID"] = email.utils.make_msgid(domain="localhost")
        mail = NewMail(
            message_id=str(message["Message-ID"]),
            subject=str(message.get("Subject", "")),
            data=wire_form(message),
            recipients=tuple(recipients),
            kind="post",
        )
        return self._storage.write(lambda database: mail_rows.add(database, mail, self._clock()), durable=True)

    def next_mail(self, now: float) -> StoredMail | None:
        """The waiting mail whose time has come first."""
        return self._storage.read(lambda database: mail_rows.next_due(database, now))

    def sent(self, mail: int, answer: str, at: float) -> None:
        """All recipients that waited are served."""
        self._change(mail, lambda database, row: mail_rows.sent(database, row, answer, at))

    def partly(
        self,
        mail: int,
        served: Sequence[str],
        refused: Mapping[str, str],
        waiting: Sequence[str],
        next_try: float | None = None,
    ) -> None:
        """Some are served. The refused become a dead letter of their own; the waiting are tried at `next_try`."""
        at = self._clock()

        def part(database: Database, row: int) -> None:
            mail_rows.partly(
                database, row, mail_rows.Outcome(tuple(served), dict(refused), tuple(waiting), next_try), at
            )

        self._change(mail, part)

    def failed(self, mail: int, reason: str, next_try: float) -> None:
        """Nobody was served; it is tried again at `next_try`."""
        self._change(mail, lambda database, row: mail_rows.failed(database, row, reason, next_try))

    def dead(self, mail: int, reason: str) -> None:
        """It is not tried again unless somebody asks."""
        at = self._clock()
        self._change(mail, lambda database, row: mail_rows.dead(database, row, reason, at))

    def mails(self, state: State | None = None, limit: int = 100) -> list[StoredMail]:
        """The newest mails."""
        return self._storage.read(lambda database: mail_rows.listed(database, state, limit))

    def retry(self, mail: int | None = None) -> int:
        """Make one, or every, dead or waiting mail due now; returns how many."""
        now = self._clock()

        def again(database: Database) -> int:
            row = None if mail is None else self._storage.current(database, "mails", mail)
            return 0 if row is None is not mail else mail_rows.retry(database, row, now)

        return self._storage.write(again, durable=True)

    def purge(self, *, before: float | None = None, dead: bool = False, sent: bool = False) -> int:
        """Remove dead or sent mails that ended before a time; returns how many. Waiting ones stay."""
        states: list[State] = [*(["dead"] if dead else []), *(["sent"] if sent else [])]  # type: ignore[list-item]
        return self._storage.write(lambda database: mail_rows.purge(database, before, states))

    def digests_since(self, at: float) -> int:
        """How many digests were begun since."""
        query = "SELECT count(*) FROM digests WHERE left >= ?"
        return self._storage.read(lambda database: int(database.execute(query, (at,)).fetchone()[0]))

    def earliest_try(self) -> float | None:
        """When the next waiting mail is due."""
        return self._storage.read(mail_rows.earliest_try)

    def changed(self) -> bool:
        """Whether anybody has changed anything since this was last asked; a few µs. For one asker an Outbox."""
        version = self._storage.version()
        changed, self._version = version != self._version, version
        return changed

    def beat(self, worker: str, leader: bool, figures: Mapping[str, Any], at: float) -> None:  # noqa: FBT001
        """Say that the worker lives, and what it counts."""
        self._storage.write(lambda database: worker_rows.beat(database, worker, figures, at, leader=leader))

    def workers(self, newer_than: float) -> list[Worker]:
        """The workers whose last beat is newer."""
        return self._storage.read(lambda database: worker_rows.alive(database, newer_than))

    def housekeeping(self) -> None:
        """Forget what is too old and give the room back; about once a minute, by one process."""

        def clean(database: Database) -> None:
            trimming.by_age(database, self._clock(), self._max_age)
            trimming.to_size(database, self._bound(database))
            database.execute("PRAGMA incremental_vacuum").fetchall()

        self._storage.write(clean)

    def close(self) -> None:
        """Close the file; a later use opens it again."""
        self._storage.close()

    def _add(self, database: Database, tallies: Mapping[str, Tally]) -> None:
        for key, tally in tallies.items():
            group_rows.add(database, key, tally, self._samples)
        trimming.to_size(database, self._bound(database))

    def _bound(self, database: Database) -> int:
        return min(self._max_bytes, MEMORY_BYTES) if database.in_memory else self._max_bytes

    def _find(self, database: Database, key: int | str) -> int | None:
        if isinstance(key, int):
            moved = self._storage.current(database, "groups", key)
            return None if moved is None else group_rows.find(database, moved)
        return group_rows.find(database, key)

    def _change(self, mail: int, work: Callable[[Database, int], object]) -> None:
        self._storage.write(lambda database: self._storage.on_row(database, "mails", mail, work), durable=True)


def _marking(count: int, at: float) -> Callable[[Database, int], None]:
    return lambda database, group: group_rows.mark_reported(database, group, count, at)
