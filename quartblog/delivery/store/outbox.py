"""Events and finished mails -> one SQLite file a host -> whoever groups, mails or shows them.

Several processes and threads use the file together. While it cannot be used, everything here goes on
in memory, with one warning; what memory holds is merged into the file once that works again.
What is recorded survives the end of the process, mails survive a power cut as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..grouping.event import Batch, tallies_of
from ..options import MAX_AGE, MAX_BYTES, SAMPLES, OutboxOptions
from ..own_log import describe, own_logger, report
from ..text import counted
from . import groups as group_rows
from . import retention as trimming
from . import workers as worker_rows
from .fallback import Storage
from .stored import Group, Kind, NewMail, State, StoredMail, Totals, Worker
from .stored_mails import StoredMails
from .workers import totals

if TYPE_CHECKING:
    from pathlib import Path

    from ..grouping.event import Event, Tally
    from .database import Database

__all__ = ["Batch", "Group", "Kind", "NewMail", "Outbox", "OutboxOptions", "State", "StoredMail", "Totals", "Worker"]

logger = own_logger("outbox")

MEMORY_BYTES = 8 * 1024 * 1024
"""Bytes that events and mails take at most while they are only in memory."""


class Outbox(StoredMails):
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
        super().__init__(Storage(path, clock), clock)
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
            found = self._find(database, key)
            return None if found is None else group_rows.get(database, found, self._samples)

        return self._storage.read(look)

    def resolve(self, key: int | str) -> bool:
        """Say that the fault is mended; the next event reopens it. False for an unknown group."""

        def settle(database: Database) -> bool:
            found = self._find(database, key)
            if found is not None:
                group_rows.resolve(database, found, self._clock())
            return found is not None

        return self._storage.write(settle, durable=True)

    def unreported(self, *, samples: int | None = None) -> list[Group]:
        """The unresolved groups with events nobody was mailed; `samples=0` is cheap in a storm."""
        wanted = self._samples if samples is None else samples
        return self._storage.read(lambda database: group_rows.unreported(database, wanted))

    def totals(self) -> Totals:
        """How much is open, waits or was given up; cheap, however much that is."""
        return self._storage.read(totals)

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

        def clean(database: Database) -> int:
            unreported = trimming.by_age(database, self._clock(), self._max_age)
            trimming.to_size(database, self._bound(database))
            trimming.give_back(database)
            return unreported

        if unreported := self._storage.write(clean):
            days = self._max_age / trimming.DAY
            logger.warning("Errors forgotten after %g days, of which no mail has told: %d", days, unreported)

    def inherit(self, before: Outbox) -> None:
        """Take over what only the memory of the outbox before this one holds, if this file can be used."""
        self._storage.inherit(before._storage)

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

    def _bound(self, database: Database) -> int:
        return min(self._max_bytes, MEMORY_BYTES) if database.in_memory else self._max_bytes

    def _find(self, database: Database, key: int | str) -> int | None:
        if isinstance(key, int):
            moved = self._storage.rows.current(database, "groups", key)
            return None if moved is None else group_rows.find(database, moved)
        return group_rows.find(database, key)


def _tell_of_loss(count: int, error: Exception) -> None:
    text = f"{counted(count, 'error')} could not be stored in the outbox: {describe(error)}"
    report(text)
    logger.warning("%s", text)
