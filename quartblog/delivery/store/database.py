"""Path -> an open SQLite connection to a file that is created, migrated, or replaced if it is damaged."""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..filesystem import SECRET_MODE, companion, lock_file, make, make_folder
from .schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .clock import SteadyClock

APPLICATION_ID = 0x51424F58
"""Marks the file as an outbox: another program's database is never written to."""

BUSY_SECONDS = 3.0
"""Seconds to wait for another process that writes, which takes less than one. Shorter than LEASE, which says why."""
WAL_BYTES = 4 * 1024 * 1024
"""Bytes that the write-ahead log keeps on disk after its content is in the file."""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_OUTAGE = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


class Unusable(Exception):
    """The file is not damaged, but this program must not write it."""


def prepare(database: sqlite3.Connection, now: float) -> None:
    """Make or migrate the tables, at a steady time. Raise Unusable for another program's file, or a newer one."""
    [version] = database.execute("PRAGMA user_version").fetchone()
    if version == len(MIGRATIONS):
        check_application(database)
        return
    [tables] = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables:
        check_application(database)
    else:
        # Both count only before the first table exists.
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    check_version(database)
    with transaction(database, "BEGIN IMMEDIATE"):
        for step in MIGRATIONS[version:]:
            for statement in step:
                database.execute(statement, {"now": now} if ":now" in statement else {})
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def check_application(database: sqlite3.Connection) -> None:
    """Raise Unusable for a database that is not an outbox."""
    [application] = database.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise Unusable("the file is the database of another program")


def check_tables(database: sqlite3.Connection) -> None:
    """Raise Unusable if a table or a column is missing."""
    columns = {thing for thing in _wanted() if thing[0] == "column"}
    if missing := columns - _things(database):
        names = ", ".join(sorted(name for _, name in missing)[:3])
        raise Unusable(f"tables or columns are missing: {names}; move the file away, and a new one is created")


def is_altered(database: sqlite3.Connection) -> bool:
    """Return whether somebody has added or removed a table, a column, a trigger or the like: any error may follow."""
    try:
        return _things(database) != _wanted()
    except sqlite3.Error:
        return True


@functools.cache
def _wanted() -> frozenset[tuple[str, str]]:
    with contextlib.closing(open_memory()) as memory:
        return _things(memory)


def _things(database: sqlite3.Connection) -> frozenset[tuple[str, str]]:
    """Return the type and name of each table, column, index, trigger and view."""
    query = """SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'
        UNION ALL SELECT 'column', t.name || '.' || c.name FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"""
    return frozenset(map(tuple, database.execute(query)))


def check_version(database: sqlite3.Connection) -> None:
    """Raise Unusable for tables of a later version than this program knows."""
    [version] = database.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= len(MIGRATIONS):
        raise Unusable(f"the file has version {version}, this program knows up to {len(MIGRATIONS)}")


class Database(sqlite3.Connection):
    """A connection, and the rule for ids of new rows in it."""

    in_memory = False
    next_id: Callable[[], int | None] = staticmethod(lambda: None)
    """The id for a new row; None lets SQLite choose."""


class DatabaseFile:
    """Opens the file when it is needed, and again after it was moved or removed, or has times of another offset."""

    def __init__(self, path: Path, clock: SteadyClock) -> None:
        """`connection` opens the file."""
        self.path = path
        self._clock = clock
        self.moved_aside: Path | None = None
        self._database: Database | None = None
        self._identity: tuple[int, int] | None = None
        self._suspect = False

    def connection(self) -> Database:
        """Return the open connection. Raise sqlite3.Error, OSError or Unusable."""
        if self._database is not None and not (
            self._identity == _identity(self.path) and self._clock.agrees(self._database)
        ):
            self.close()
        if self._database is None:
            with _exclusive(self.path) as lock:
                _drop_log_of_another(self.path, lock)
                self._database = self._open()
                os.lseek(lock, 0, os.SEEK_SET)
                os.write(lock, _files(self.path).ljust(_NOTED, b"\n"))
        return self._database

    def suspect(self) -> None:
        """Check the whole file at the next opening."""
        self.close()
        self._suspect = True

    def close(self) -> None:
        """Close the connection, if one is open."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def abandon(self) -> Database | None:
        """Forget the connection without closing it, and return it."""
        database, self._database = self._database, None
        return database

    def _open(self) -> Database:
        database = self._connect_if_whole()
        if database is None:
            self.moved_aside = _move_aside(self.path)
            database = self._connect()
        self._suspect = False
        self._identity = _identity(self.path)
        return database

    def _connect_if_whole(self) -> Database | None:
        """Return a connection, None for a damaged file."""
        database = None
        try:
            database = self._connect()
            if not self._suspect or database.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok":
                return database
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        if database is not None:
            database.close()
        return None

    def _connect(self) -> Database:
        # Mails hold links that reset a password, so only the owner may read the file. `make` does not open an
        # existing file: closing it would drop the locks of this process's other connections.
        make(self.path, SECRET_MODE)
        database = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=Database
        )
        database.row_factory = sqlite3.Row
        try:
            prepare(database, self._clock.now())
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA foreign_keys = ON")
            database.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
            check_tables(database)
            if not self._clock.take_over(database):
                with transaction(database, "BEGIN IMMEDIATE"):
                    self._clock.fix(database)
        except BaseException:
            database.close()
            raise
        return database


@contextlib.contextmanager
def transaction(database: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Commit at the end, or roll back when an exception leaves the block."""
    database.execute(begin)
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


def open_memory(next_id: Callable[[], int] = lambda: 0) -> Database:
    """Return a database in memory, with the same tables."""
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=Database)
    database.row_factory = sqlite3.Row
    prepare(database, 0.0)
    database.execute("PRAGMA foreign_keys = ON")
    database.in_memory = True
    database.next_id = next_id
    return database


def is_damage(error: Exception) -> bool:
    """Return whether the file itself is damaged."""
    return _code(error) in _DAMAGE


def is_outage(error: Exception) -> bool:
    """Return whether the file cannot be used now. Other errors may come from the values of a statement."""
    return isinstance(error, Unusable) or _code(error) in _OUTAGE


def _code(error: Exception) -> int:
    """Return SQLite's primary result code; 0 for an error of other code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _move_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


_NOTED = 200
"""Bytes of a lock file that hold what `_files` returned."""


def _files(path: Path) -> bytes:
    """Return which file the path and which one its write-ahead log is now, in two lines."""
    return f"{_identity(path)}\n{_identity(path.with_name(f'{path.name}-wal'))}".encode()


def _drop_log_of_another(path: Path, lock: int) -> None:
    """Delete the write-ahead log that is there of a file which another one, a backup for example, was renamed over.

    SQLite would apply it to the other file, and so damage that. It does not note which file a log belongs to; the lock
    file does. Processes that still use the replaced file keep its log, without a name.
    """
    noted, found = os.read(lock, _NOTED).splitlines(), _files(path).splitlines()
    if path.is_file() and noted[1:2] == found[1:2] != [b"None"] and noted[0] != found[0]:
        for suffix in ("-wal", "-shm"):
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[int]:
    """Let one process at a time open, migrate and replace the file, if the system has locks. Yield the lock file."""
    make_folder(path.parent)
    lock_path = path.with_name(f"{path.name}.opening")
    if not lock_path.exists():
        like = companion(path)
        _check_path(path)
        make(lock_path, SECRET_MODE, like=like)
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, SECRET_MODE)
    try:
        _wait_for(lock)
        yield lock
    finally:
        os.close(lock)


def _check_path(path: Path) -> None:
    """Raise an error for a folder or another program's database, which must not get a lock file beside it."""
    if not path.exists():
        return
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as database:
        try:
            [tables] = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables:
                check_application(database)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise


def _wait_for(lock: int) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while not lock_file(lock):
        if time.monotonic() > deadline:
            raise Unusable("another process has been opening it for too long")
        time.sleep(0.01)
