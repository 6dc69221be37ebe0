"""The tables of the outbox, and the way from each earlier form of them to today's."""

from __future__ import annotations

import contextlib
import sqlite3

APPLICATION_ID = 0x51424F58
"""Marks the file as an outbox: another program's database is never written to."""

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
    # Beside the mails, because the hourly cap must hold also when sent mails were purged.
    "CREATE TABLE digests (left REAL NOT NULL)",
    """CREATE TABLE workers (
        name TEXT PRIMARY KEY,
        leader INTEGER NOT NULL,
        at REAL NOT NULL,
        figures TEXT NOT NULL
    )""",
)

# The samples of a group mostly show the same traceback, and it is ten times as long as the rest of them: in a storm
# the outbox wrote little else.
_SECOND = (
    "CREATE TABLE tracebacks (digest INTEGER PRIMARY KEY, text BLOB NOT NULL)",
    "ALTER TABLE samples ADD COLUMN traceback INTEGER",
    "CREATE INDEX samples_by_traceback ON samples (traceback)",
    """CREATE TRIGGER tracebacks_without_sample AFTER DELETE ON samples
        WHEN NOT EXISTS (SELECT 1 FROM samples WHERE traceback = OLD.traceback)
        BEGIN DELETE FROM tracebacks WHERE digest = OLD.traceback; END""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND)
"""Step N leads from version N to N + 1. A published step is never changed; a new one is added."""


class Unusable(Exception):
    """The file is in order, but not for this program to write."""


def prepare(database: sqlite3.Connection) -> None:
    """Make or migrate the tables. Raises Unusable for another program's file or a newer version."""
    [version] = database.execute("PRAGMA user_version").fetchone()
    if version == len(MIGRATIONS):
        check_owner(database)
        return
    [tables] = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables:
        check_owner(database)
    else:
        # Both count only before the first table exists.
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    check_version(database)
    database.execute("BEGIN IMMEDIATE")
    try:
        for step in MIGRATIONS[version:]:
            for statement in step:
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


def check_owner(database: sqlite3.Connection) -> None:
    """Raise Unusable for a database that is no outbox."""
    [owner] = database.execute("PRAGMA application_id").fetchone()
    if owner != APPLICATION_ID:
        raise Unusable("the file is the database of another program")


def check_version(database: sqlite3.Connection) -> None:
    """Raise Unusable for tables of a later version than this program knows."""
    [version] = database.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= len(MIGRATIONS):
        raise Unusable(f"the file has version {version}, this program knows up to {len(MIGRATIONS)}")
