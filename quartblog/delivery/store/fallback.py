"""A SQLite file shared by processes -> a transaction whenever one is wanted, in memory while the disk fails.

One connection a process, guarded by a lock: transactions are short, and a connection a thread would stay
open when its thread ends. While the file cannot be used, a memory database with the same tables
takes its place; the file is tried again every few seconds, and then gets what memory held.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .. import forks
from ..own_log import describe, own_logger, report
from .database import Database, DatabaseFile, Unusable, check_version, is_damage, is_outage, open_memory
from .merging import contents, merge
from .whereabouts import Whereabouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

RETRY_SECONDS = 3.0
"""Seconds between two tries to use the file again."""

logger = own_logger("outbox")


class Storage:
    """Runs transactions; safe from any thread, closed before a fork and opened again after it."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        """Nothing is opened before the first transaction. Without a path all of it is in memory, for good."""
        self._without_file = path is None
        self._file = DatabaseFile(path or Path())
        self._clock = clock
        self.rows = Whereabouts()
        self._lock = threading.RLock()
        self._memory: Database | None = None
        self._tried = 0.0
        self._staying = False
        self._told: list[str] = []
        self._last_memory_id = 0
        self._own_writes = 0
        forks.watch(self)

    @property
    def in_memory(self) -> bool:
        """Whether the file could not be used the last time, or there is none."""
        return self._without_file or self._memory is not None

    def write(self, work: Callable[[Database], T], *, durable: bool = False) -> T:
        """Run `work` in a transaction of its own; with `durable` it survives a power cut.

        `work` may run twice, the second time in memory.
        """
        return self._run(work, "BEGIN IMMEDIATE", durable=durable)

    def read(self, work: Callable[[Database], T]) -> T:
        """Run `work` on one state of the data."""
        return self._run(work, "BEGIN", durable=False)

    @contextlib.contextmanager
    def staying(self, table: str, row: int) -> Iterator[bool]:
        """Whether the row is in this process's memory alone; it stays there until this is left. For one asker."""
        with self._lock:
            memory = self._memory
            self._staying = alone = memory is not None and self.rows.current(memory, table, row) is not None
        try:
            yield alone
        finally:
            self._staying = False

    def version(self) -> tuple[object, ...]:
        """Differs after every change by anybody, and costs a few µs."""
        with self._lock:
            disk = None
            with contextlib.suppress(sqlite3.Error, OSError, Unusable):
                disk = None if self.in_memory else self._file.version()
            return (self._own_writes, self.in_memory, disk)

    def inherit(self, other: Storage) -> None:
        """Bring what only the memory of another one holds into this file; where that fails, it stays where it is."""
        # The other's first: its disk may hang, and nobody shall wait for this one meanwhile.
        with other._lock, self._lock, contextlib.suppress(sqlite3.Error):
            if other._memory is not None and not (database := self._database()).in_memory:
                self._bring_back(other._memory, database)
                other._memory = None
        self._speak()

    def open(self) -> Path | None:
        """As Outbox.open."""
        if self._without_file:
            return None
        with self._lock:
            try:
                self._file.connection()
            except (sqlite3.Error, Unusable) as error:
                raise OSError(str(error)) from error
            aside, self._file.moved_aside = self._file.moved_aside, None
            return aside

    def close(self) -> None:
        """Close the file; what is only in memory is tried once more and said to be lost otherwise."""
        with self._lock:
            self._staying = False
            if self._memory is not None:
                self._tried = float("-inf")
                self._database()
            if self._memory is not None:
                if not self._without_file and (lost := contents(self._memory)):
                    self._told.append(f"{self._file.path} could not be used to the end: lost are {lost}")
                self._memory.close()
                self._memory = None
            with contextlib.suppress(sqlite3.Error, OSError, Unusable):
                self._pay()
            self.rows.settled({})
            self._file.close()
        self._speak()

    def pause(self) -> None:
        """Before a fork: hold everything still, without the file."""
        self._lock.acquire()
        self._file.close()

    def resume(self, *, child: bool) -> None:
        """After a fork. The child starts without what its parent's memory holds."""
        if child and self._memory is not None:
            self._memory.close()
            self._memory = None
            self._staying = False
            self.rows.settled({})
        self._lock.release()

    def _run(self, work: Callable[[Database], T], begin: str, *, durable: bool) -> T:
        try:
            with self._lock:
                return self._attempt(work, begin, durable=durable)
        finally:
            self._speak()

    def _attempt(self, work: Callable[[Database], T], begin: str, *, durable: bool) -> T:
        for _ in range(2):
            database = self._database()
            if database.in_memory:
                break
            try:
                return self._transact(database, work, begin, durable=durable)
            except (sqlite3.Error, Unusable) as error:
                if is_damage(error):
                    self._file.suspect()  # The next turn looks at it and begins a fresh one.
                elif is_outage(error):
                    self._fall_back(error)
                else:
                    raise
        memory = self._memory or self._fall_back(Unusable("it is damaged again and again"))
        return self._transact(memory, work, begin, durable=False)

    def _transact(self, database: Database, work: Callable[[Database], T], begin: str, *, durable: bool) -> T:
        if durable:
            database.execute("PRAGMA synchronous = FULL")
        try:
            with _transaction(database, begin):
                if not database.in_memory:
                    check_version(database)
                result = work(database)
            self._own_writes += begin != "BEGIN"
            return result
        finally:
            if durable:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("PRAGMA synchronous = NORMAL")

    def _database(self, *, again: bool = False) -> Database:
        if self._without_file:
            self._memory = self._memory or open_memory(self._next_memory_id)
            return self._memory
        if self._memory is not None and (self._staying or 0 <= self._clock() - self._tried < RETRY_SECONDS):
            return self._memory
        try:
            return self._disk()
        except (sqlite3.Error, OSError, Unusable) as error:
            if again or not is_damage(error):
                return self._fall_back(error)
        self._file.suspect()
        return self._database(again=True)

    def _disk(self) -> Database:
        """The file, with all that memory held."""
        database = self._file.connection()
        if (aside := self._file.moved_aside) is not None:
            self._file.moved_aside = None
            self._told.append(f"{self._file.path} was damaged: it is now {aside}, a fresh one is begun")
        if self._memory is not None:
            self._bring_back(self._memory, database)
            self._memory = None
            self._told.append(f"{self._file.path} is used again; it got what memory held")
        return database

    def _fall_back(self, error: Exception) -> Database:
        self._file.close()
        self._tried = self._clock()
        if self._memory is None:
            self._memory = open_memory(self._next_memory_id)
            self._told.append(
                f"{self._file.path} cannot be used, errors and mails are kept in memory: {describe(error)}"
            )
        return self._memory

    def _bring_back(self, memory: Database, database: Database) -> None:
        with _transaction(database, "BEGIN IMMEDIATE"):
            moved = merge(memory, database)
            self.rows.pay(database)
        self.rows.settled(moved)
        memory.close()
        self._own_writes += 1

    def _pay(self) -> None:
        """Do what the file is owed, though another storage has got what memory held."""
        if self.rows.owing and not self._without_file:
            database = self._file.connection()
            with _transaction(database, "BEGIN IMMEDIATE"):
                self.rows.pay(database)

    def _next_memory_id(self) -> int:
        self._last_memory_id -= 1
        return self._last_memory_id

    def _speak(self) -> None:
        # Outside of the lock: a handler of this logger may want the outbox itself.
        while self._told:
            with contextlib.suppress(IndexError):
                text = self._told.pop(0)
                report(text)
                logger.warning("%s", text)


@contextlib.contextmanager
def _transaction(database: Database, begin: str) -> Iterator[None]:
    database.execute(begin)
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
