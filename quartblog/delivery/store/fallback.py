"""Transactions -> the SQLite file, or memory while the disk is away, which is merged into the file later.

One connection a process, guarded by a lock: transactions are short, and a connection a thread would stay
open when its thread ends. While the file cannot be used, a database in memory with the same tables
replaces it. Every few seconds the file is tried again, and then gets the rows of the memory.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..forks import keep_for_ever, reset_after_fork
from ..grouping.event import Event
from ..own_log import describe, own_logger, report
from ..text import counted
from . import details, retention
from . import groups as group_rows
from .clock import SteadyClock
from .database import (
    Database,
    DatabaseFile,
    Unusable,
    check_version,
    is_altered,
    is_damage,
    is_outage,
    open_memory,
    transaction,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence

    from .clock import Clock, Moment

T = TypeVar("T")

RETRY_SECONDS = 3.0
"""Seconds between two tries to use the file again."""
FORK_SECONDS = 5.0
"""Seconds that a fork waits at most for the transaction of another thread: milliseconds, unless the disk hangs."""

logger = own_logger("outbox")


class Storage:
    """Runs transactions, from any thread. A row in memory has a negative id, and gets another one in the file."""

    def __init__(self, path: Path | None, clock: Clock, max_bytes: int) -> None:
        """Open nothing before the first transaction. Without a path everything stays in memory."""
        self.clock = SteadyClock(clock)
        self.max_bytes = max_bytes
        """Bytes that the file is cut down to."""
        self.losses = retention.LossLog()
        self._without_file = path is None
        self._file = DatabaseFile(path or Path(), self.clock)
        self._lock = threading.RLock()
        self._memory: Database | None = None
        self._tried = 0.0
        self._reasons: set[str] = set()
        """Why the file could not be used since it could the last time."""
        self._held_for_fork = False
        self._messages: list[str] = []
        self._last_memory_id = 0
        self._merged = False
        self.digests: list[float] = []
        """Steady times of the latest digests in the file, which count against the cap in memory, too."""
        reset_after_fork(self)

    @property
    def in_memory(self) -> bool:
        """Whether the file could not be used the last time, or there is none."""
        return self._without_file or self._memory is not None

    def read(self, work: Callable[[Database, Moment], T]) -> T:
        """Run `work` on one state of the data."""
        # The moment is taken inside of the transaction, because opening the file may change the steady time.
        return self._run(lambda database: work(database, self.clock.moment()), "BEGIN", durable=False)

    def write(self, work: Callable[[Database, Moment], T], *, durable: bool = True) -> T:
        """Run `work` in a transaction of its own; with `durable` it survives a power cut.

        `work` may run twice, the second time in memory.
        """

        def noted(database: Database) -> T:
            result = work(database, self.clock.moment())
            self.clock.note(database)
            return result

        return self._run(noted, "BEGIN IMMEDIATE", durable=durable)

    def grow(self, work: Callable[[Database, Moment], T], *, durable: bool = True) -> T:
        """As `write`, for a transaction that may add to the file: then make room."""

        def add(database: Database, at: Moment) -> tuple[T, bool]:
            return work(database, at), retention.is_full(database, self.max_bytes)

        result, full = self.write(add, durable=durable)
        if full:
            self.make_room()
        return result

    def make_room(self) -> None:
        """Keep the bound, in transactions that are short: other processes write between them."""
        step: int | None = 0
        while step is not None:
            lost, step = self.write(partial(self._delete, step), durable=False)
            self.losses.note(lost)

    def _delete(self, step: int, database: Database, at: Moment) -> tuple[Counter[str], int | None]:
        return retention.to_size(database, self.max_bytes, at.now, step)

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

    def close(self, timeout: float = -1) -> bool:
        """Close the file. Rows that are only in memory are written to it, or reported as lost.

        False when another thread uses the file for more than `timeout` seconds; below 0, this waits for it.
        """
        if not self._lock.acquire(timeout=timeout):
            return False
        try:
            if self._memory is not None:
                self._tried = float("-inf")
                self._database()
            self._keep_bound()
            if self._memory is not None:
                if not self._without_file and (lost := _contents(self._memory)):
                    self._messages.append(f"{self._file.path} could not be used until the end: {lost} are lost")
                self._memory.close()
                self._memory = None
            self._file.close()
        finally:
            self._lock.release()
        self._log()
        return True

    def hold(self) -> None:
        """Before a fork: wait for the transaction that is under way, a few seconds at most."""
        self._held_for_fork = self._lock.acquire(timeout=FORK_SECONDS)

    def go_on(self) -> None:
        """After a fork, in the parent."""
        if self._held_for_fork:
            self._lock.release()

    def reset_in_child(self) -> None:
        """After a fork, in the child: begin without the connection and the memory of the parent."""
        if self._held_for_fork:
            # Closed now, while the parent holds its locks. Otherwise SQLite would share them with the next connection
            # of this process. That would then have no locks of its own, and the parent would seem to be the last user.
            self._file.close()
            if self._memory is not None:
                self._memory.close()
        else:
            # Another thread was inside SQLite, whose mutexes and locks this process keeps until its end. To close the
            # connections could wait for such a mutex forever. So they stay, with a memory of MEMORY_BYTES at most.
            keep_for_ever(self._memory)
            keep_for_ever(self._file.abandon())
            _BARRED.add(self._file.path)
        self._memory = None
        self._messages = []
        self._lock = threading.RLock()

    def _run(self, work: Callable[[Database], T], begin: str, *, durable: bool) -> T:
        try:
            with self._lock:
                result = self._attempt(work, begin, durable=durable)
        finally:
            self._log()
        self._keep_bound()
        return result

    def _keep_bound(self) -> None:
        if self._merged:
            self._merged = False
            self.make_room()

    def _attempt(self, work: Callable[[Database], T], begin: str, *, durable: bool) -> T:
        for _ in range(2):
            database = self._database()
            if database.in_memory:
                break
            try:
                return _transact(database, work, begin, durable=durable)
            except (sqlite3.Error, Unusable) as error:
                if is_damage(error):
                    self._file.suspect()  # The next turn checks it, and replaces it if it is damaged.
                elif is_outage(error) or is_altered(database):
                    self._fall_back(error)
                else:
                    raise
        memory = self._memory or self._fall_back(Unusable("it is damaged again and again"))
        return _transact(memory, work, begin, durable=False)

    def _database(self, *, again: bool = False) -> Database:
        self.clock.go_on()
        if self._without_file:
            self._memory = self._memory or open_memory(self._next_memory_id)
            return self._memory
        if self._memory is not None and self.clock.elapsed() - self._tried < RETRY_SECONDS:
            return self._memory
        try:
            return self._disk()
        except (sqlite3.Error, OSError, Unusable) as error:
            if again or not is_damage(error):
                return self._fall_back(error)
        self._file.suspect()
        return self._database(again=True)

    def _disk(self) -> Database:
        """Return the file's connection, after the rows of the memory were merged into it."""
        if self._file.path in _BARRED:
            raise Unusable("this process was forked in the middle of a transaction")
        earlier_offset = self.clock.offset
        database = self._file.connection()
        if self._memory is not None and (shift := self.clock.offset - earlier_offset):
            _move_times(self._memory, shift)
            self.digests = [left + shift for left in self.digests]
        if (aside := self._file.moved_aside) is not None:
            self._file.moved_aside = None
            self._messages.append(
                f"{self._file.path} was damaged: it was renamed to {aside}, and a new outbox was created"
            )
        if self._memory is not None:
            with transaction(database, "BEGIN IMMEDIATE"):
                _merge(self._memory, database, self.digests)
                self.clock.note(database)
            self._memory.close()
            self._memory = None
            self._merged = True
            self._messages.append(f"{self._file.path} is used again; errors and mails from memory are in it now")
        return database

    def _fall_back(self, error: Exception) -> Database:
        self._file.close()
        self._tried = self.clock.elapsed()
        if self._memory is None:
            self._memory = open_memory(self._next_memory_id)
            self._memory.executemany("INSERT INTO digests VALUES (?)", [(left,) for left in self.digests])
            self._reasons.clear()
        if (reason := describe(error)) not in self._reasons:
            self._reasons.add(reason)
            self._messages.append(f"{self._file.path} cannot be used, errors and mails are kept in memory: {reason}")
        return self._memory

    def _next_memory_id(self) -> int:
        self._last_memory_id -= 1
        return self._last_memory_id

    def _log(self) -> None:
        # Outside of the lock, because a handler of this logger may use the outbox.
        while self._messages:
            with contextlib.suppress(IndexError):
                text = self._messages.pop(0)
                report(text)
                logger.warning("%s", text)


_BARRED: set[Path] = set()
"""Files with a transaction that a fork interrupted: SQLite takes them for locked in this process."""


def _transact(database: Database, work: Callable[[Database], T], begin: str, *, durable: bool) -> T:
    if durable:
        database.execute("PRAGMA synchronous = FULL")
    try:
        with transaction(database, begin):
            if not database.in_memory:
                check_version(database)
            return work(database)
    finally:
        if durable:
            with contextlib.suppress(sqlite3.Error):
                database.execute("PRAGMA synchronous = NORMAL")


# How a row of the memory changes a row that the file has of it.
_GROUP = """
    ON CONFLICT (fingerprint) DO UPDATE SET
        level = max(level, excluded.level),
        route = coalesce(excluded.route, route),
        count = count + excluded.count,
        reported = reported + excluded.reported,
        first_seen = min(first_seen, excluded.first_seen),
        last_seen = max(last_seen, excluded.last_seen),
        last_reported = max(coalesce(last_reported, excluded.last_reported),
                            coalesce(excluded.last_reported, last_reported)),
        reopened = iif(excluded.resolved, 0,
            iif(resolved OR excluded.reopened = 1, 1, max(reopened, excluded.reopened))),
        resolved = excluded.resolved,
        resolved_at = coalesce(excluded.resolved_at, resolved_at),
        touched = max(touched, excluded.touched),
        muted_until = coalesce(excluded.muted_until, muted_until),
        muted_more = coalesce(excluded.muted_more, muted_more),
        muted_window = coalesce(excluded.muted_window, muted_window),
        muted_base = coalesce(count + excluded.muted_base, muted_base),
        muted_since = coalesce(excluded.muted_since, muted_since),
        died = died + excluded.died,
        refusals = max(refusals, excluded.refusals),
        refused_at = coalesce(excluded.refused_at, refused_at),
        copied = copied + excluded.copied,
        message = excluded.message,
        first_release = iif(first_release = '', excluded.first_release, first_release),
        last_release = iif(excluded.last_release = '', last_release, excluded.last_release)"""

_LOSS = """
    ON CONFLICT (reason) DO UPDATE SET count = count + excluded.count, at = max(at, excluded.at)"""

_TIMES = {
    "groups": ("last_reported", "touched", "muted_until", "muted_since", "refused_at"),
    "samples": ("touched",),
    "mails": ("created", "since", "next_try", "finished", "claimed"),
    "digests": ("left",),
    "losses": ("at",),
}


def _move_times(memory: Database, seconds: float) -> None:
    """Change the steady times of the memory to those of a file with another offset."""
    for table, columns in _TIMES.items():
        changes = ", ".join(f"{column} = {column} + :seconds" for column in columns)
        memory.execute(f"UPDATE {table} SET {changes}", {"seconds": seconds})  # noqa: S608  constants


def _merge(memory: Database, disk: Database, known: Sequence[float]) -> None:
    """Add all rows of the memory to the file, except the digests in `known`, which the file has."""
    newest = "SELECT data FROM samples WHERE id IN (SELECT max(id) FROM samples GROUP BY group_id)"
    for [data] in memory.execute(newest):
        group_rows.rename_earlier(disk, Event.from_json(data, ""))
    groups = _add(memory, disk, "groups", _GROUP)
    disk.executemany("INSERT OR IGNORE INTO tracebacks VALUES (?, ?)", memory.execute("SELECT * FROM tracebacks"))
    _add(memory, disk, "samples", group_id=groups)
    details.merge(memory, disk, groups)
    # A mail in flight has a negative token, so another process leaves it alone for as long as a session may take.
    mails = _add(memory, disk, "mails")
    disk.executemany("UPDATE mails SET announced = ? WHERE announced = ?", [(new, old) for old, new in mails.items()])
    _add(memory, disk, "mail_groups", mail_id=mails)
    left_since = [left for [left] in memory.execute("SELECT left FROM digests") if left not in known]
    disk.executemany("INSERT INTO digests VALUES (?)", [(left,) for left in left_since])
    _add(memory, disk, "losses", _LOSS)


def _add(memory: Database, disk: Database, table: str, otherwise: str = "", **ids: Mapping[int, int]) -> dict[int, int]:
    """Add the rows of a table; return the id that each has got. `ids`: by column, the ids that its values have got."""
    names = [name for [name] in memory.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    columns = [name for name in names if name != "id"]
    values = ", ".join(f":{name}" for name in columns)
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values}) {otherwise} RETURNING *"  # noqa: S608  constants
    got: dict[int, int] = {}
    # Ids in memory count down from -1, so the oldest come first.
    for row in memory.execute(f"SELECT * FROM {table} ORDER BY abs({names[0]})").fetchall():  # noqa: S608  constants
        changed = {column: known[row[column]] for column, known in ids.items()}
        got[row[0]] = disk.execute(statement, dict(row) | changed).fetchone()[0]
    return got


def _contents(memory: Database) -> str:
    """Return the number of errors and mails in memory as words, "" without any."""
    [errors] = memory.execute("SELECT coalesce(sum(count), 0) FROM groups").fetchone()
    [mails] = memory.execute("SELECT count(*) FROM mails WHERE state = 'waiting'").fetchone()
    return f"{counted(errors, 'error')} and {counted(mails, 'mail')}" if errors or mails else ""
