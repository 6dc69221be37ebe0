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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .clock import SteadyClock

APPLICATION_ID = 0x51424F58
"""Marks the file as an outbox: another program's database is never written to."""

BUSY_SECONDS = 5.0
"""Seconds to wait for another process that writes."""
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

_FIRST = (
    """CREATE TABLE groups (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        fingerprint TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        level INTEGER NOT NULL,
        logger TEXT NOT NULL,
        place TEXT NOT NULL,
        function TEXT NOT NULL,
        route TEXT,
        count INTEGER NOT NULL,
        reported INTEGER NOT NULL DEFAULT 0,
        first_seen REAL NOT NULL,
        last_seen REAL NOT NULL,
        last_reported REAL,
        resolved INTEGER NOT NULL DEFAULT 0,
        reopened INTEGER NOT NULL DEFAULT 0,
        resolved_at REAL
    )""",
    "CREATE INDEX groups_by_time ON groups (last_seen)",
    "CREATE INDEX groups_unreported ON groups (last_seen) WHERE count > reported AND NOT resolved",
    """CREATE TABLE samples (
        id INTEGER PRIMARY KEY,
        group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
        error_id TEXT NOT NULL,
        created REAL NOT NULL,
        data TEXT NOT NULL
    )""",
    "CREATE INDEX samples_by_group ON samples (group_id)",
    "CREATE INDEX samples_by_error_id ON samples (error_id)",
    """CREATE TABLE mails (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        data BLOB NOT NULL,
        recipients TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL,
        since REAL NOT NULL,
        next_try REAL NOT NULL,
        last_error TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL DEFAULT 'waiting',
        finished REAL
    )""",
    "CREATE INDEX mails_by_state ON mails (state, next_try)",
    # In a table of its own, because the hourly cap must also hold after sent mails were purged.
    "CREATE TABLE digests (left REAL NOT NULL)",
    """CREATE TABLE workers (
        name TEXT PRIMARY KEY,
        leader INTEGER NOT NULL,
        at REAL NOT NULL,
        figures TEXT NOT NULL
    )""",
)

# Most samples of a group have the same traceback, which is ten times as long as the rest of a sample.
_SECOND = (
    "CREATE TABLE tracebacks (digest INTEGER PRIMARY KEY, text BLOB NOT NULL)",
    "ALTER TABLE samples ADD COLUMN traceback INTEGER",
    "CREATE INDEX samples_by_traceback ON samples (traceback)",
    """CREATE TRIGGER tracebacks_without_sample AFTER DELETE ON samples
        WHEN NOT EXISTS (SELECT 1 FROM samples WHERE traceback = OLD.traceback)
        BEGIN DELETE FROM tracebacks WHERE digest = OLD.traceback; END""",
)

# Compared times are steady times, see clock.py. An earlier version wrote times of the wall clock. None of them may lie
# ahead: it would hold mail back, or its row would never be old.
_THIRD = (
    "CREATE TABLE steady (id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT, ahead REAL NOT NULL, seen REAL NOT NULL)",
    """CREATE TABLE leader (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        worker TEXT NOT NULL,
        token INTEGER NOT NULL,
        at REAL
    )""",
    "CREATE TABLE losses (reason TEXT PRIMARY KEY, count INTEGER NOT NULL, at REAL NOT NULL)",
    "ALTER TABLE groups ADD COLUMN touched REAL NOT NULL DEFAULT 0",
    "ALTER TABLE groups ADD COLUMN muted_until REAL",
    "UPDATE groups SET touched = min(last_seen, :now), last_reported = min(last_reported, :now)",
    "DROP INDEX groups_by_time",
    "CREATE INDEX groups_by_time ON groups (touched)",
    "ALTER TABLE samples ADD COLUMN touched REAL NOT NULL DEFAULT 0",
    "UPDATE samples SET touched = min(created, :now)",
    "ALTER TABLE mails ADD COLUMN token INTEGER",
    "ALTER TABLE mails ADD COLUMN claimed REAL",
    """UPDATE mails SET created = min(created, :now), since = min(since, :now), next_try = min(next_try, :now),
        finished = min(finished, :now)""",
    "UPDATE digests SET left = min(left, :now)",
    "UPDATE workers SET at = min(at, :now)",
)

# The errors that each digest reports, so that a waiting digest can take in more and a dead one gives them back.
_IN_MAIL = "(SELECT m.count FROM mail_groups AS m WHERE m.mail_id = NEW.id AND m.fingerprint = groups.fingerprint)"
_FOURTH = (
    """CREATE TABLE mail_groups (
        mail_id INTEGER NOT NULL REFERENCES mails (id) ON DELETE CASCADE,
        fingerprint TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (mail_id, fingerprint)
    ) WITHOUT ROWID""",
    "ALTER TABLE mails ADD COLUMN notes TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE mails ADD COLUMN stale INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE mails ADD COLUMN most INTEGER",
    "ALTER TABLE mails ADD COLUMN reached INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE mails ADD COLUMN announced INTEGER NOT NULL DEFAULT 0",
    "UPDATE mails SET announced = 1 WHERE state = 'dead'",
    "ALTER TABLE groups ADD COLUMN died INTEGER NOT NULL DEFAULT 0",
    # A trigger, because several statements give a digest up: its errors, if it reached no recipient, are unreported.
    f"""CREATE TRIGGER digest_died AFTER UPDATE OF state ON mails
        WHEN OLD.state = 'waiting' AND NEW.state = 'dead' AND NEW.kind = 'digest' AND NOT NEW.reached
        BEGIN UPDATE groups SET reported = max(0, reported - {_IN_MAIL}), died = died + {_IN_MAIL}
            WHERE fingerprint IN (SELECT fingerprint FROM mail_groups WHERE mail_id = NEW.id); END""",  # noqa: S608  a constant
    f"""CREATE TRIGGER digest_lives AFTER UPDATE OF state ON mails
        WHEN OLD.state = 'dead' AND NEW.state = 'waiting' AND NEW.kind = 'digest' AND NOT OLD.reached
        BEGIN UPDATE groups SET reported = min(count, reported + {_IN_MAIL}), died = max(0, died - {_IN_MAIL})
            WHERE fingerprint IN (SELECT fingerprint FROM mail_groups WHERE mail_id = NEW.id); END""",  # noqa: S608  a constant
)

# Errors count as reported once a mail server accepted their digest, not when it begins.
_FIFTH = (
    "DROP TRIGGER digest_died",
    "DROP TRIGGER digest_lives",
    """UPDATE groups SET reported = max(0, reported - (SELECT coalesce(sum(held.count), 0)
        FROM mail_groups AS held JOIN mails ON mails.id = held.mail_id WHERE held.fingerprint = groups.fingerprint
            AND mails.state = 'waiting' AND mails.kind = 'digest' AND NOT mails.reached))""",
    "UPDATE mails SET kind = 'copy' WHERE kind = 'route' OR (kind = 'digest' AND reached AND state = 'waiting')",
    # Earlier versions did not keep what a digest reports: its text is sent as it is.
    """UPDATE mails SET kind = 'post' WHERE state != 'sent' AND kind != 'post'
        AND NOT EXISTS (SELECT 1 FROM mail_groups WHERE mail_id = mails.id)""",
    "ALTER TABLE mails DROP COLUMN notes",
    "ALTER TABLE mails DROP COLUMN stale",
    "ALTER TABLE mails DROP COLUMN reached",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH)
"""Step N leads from version N to N + 1. Never change a published step; add a new one."""


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
    if missing := _wanted_columns() - _columns(database):
        names = ", ".join(sorted(f"{table}.{column}" for table, column in missing)[:3])
        raise Unusable(f"tables or columns are missing: {names}; move the file away, and a new one is created")


@functools.cache
def _wanted_columns() -> frozenset[tuple[str, str]]:
    with contextlib.closing(open_memory()) as memory:
        return _columns(memory)


def _columns(database: sqlite3.Connection) -> frozenset[tuple[str, str]]:
    query = """SELECT t.name, c.name FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"""
    return frozenset((table, column) for table, column in database.execute(query))


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
    """Opens the file when it is needed, and again after it was moved or removed."""

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
        if self._database is not None and self._identity != _identity(self.path):
            self.close()
        if self._database is None:
            with _exclusive(self.path):
                return self._open()
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
        self._database = database
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
    except FileNotFoundError:
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


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Let one process at a time open, migrate and replace the file, if the system has locks."""
    make_folder(path.parent)
    lock_path = path.with_name(f"{path.name}.opening")
    if not lock_path.exists():
        make(lock_path, SECRET_MODE, like=companion(path))
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, SECRET_MODE)
    try:
        _wait_for(lock)
        yield
    finally:
        os.close(lock)


def _wait_for(lock: int) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while not lock_file(lock):
        if time.monotonic() > deadline:
            raise Unusable("another process has been opening it for too long")
        time.sleep(0.01)
