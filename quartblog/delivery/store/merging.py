"""What memory held during an outage -> the file, in the transaction that ends the outage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..text import counted

if TYPE_CHECKING:
    from .database import Database

_GROUP = """
    INSERT INTO groups (fingerprint, title, level, logger, place, function, route, count, reported, first_seen,
        last_seen, last_reported, resolved, reopened, resolved_at)
    VALUES (:fingerprint, :title, :level, :logger, :place, :function, :route, :count, :reported, :first_seen,
        :last_seen, :last_reported, :resolved, :reopened, :resolved_at)
    ON CONFLICT (fingerprint) DO UPDATE SET
        level = max(level, excluded.level),
        route = coalesce(excluded.route, route),
        count = count + excluded.count,
        reported = reported + excluded.reported,
        first_seen = min(first_seen, excluded.first_seen),
        last_seen = max(last_seen, excluded.last_seen),
        last_reported = max(coalesce(last_reported, excluded.last_reported),
                            coalesce(excluded.last_reported, last_reported)),
        reopened = (reopened OR resolved OR excluded.reopened) AND NOT excluded.resolved,
        resolved = excluded.resolved,
        resolved_at = coalesce(excluded.resolved_at, resolved_at)
    RETURNING id, reported"""

_TRACEBACK = "INSERT OR IGNORE INTO tracebacks (digest, text) VALUES (?, ?)"

_SAMPLE = "INSERT INTO samples (group_id, error_id, created, data, traceback) VALUES (?, ?, ?, ?, ?)"

_MAIL = """
    INSERT INTO mails (message_id, kind, subject, data, recipients, tries, created, since, next_try, last_error,
        state, finished)
    VALUES (:message_id, :kind, :subject, :data, :recipients, :tries, :created, :since, :next_try, :last_error,
        :state, :finished)
    RETURNING id"""


def merge(memory: Database, disk: Database) -> dict[tuple[str, int], int]:
    """Add everything; returns for each (table, id in memory) the id it has now.

    Under ("reported", id) is how much a group's `reported` on disk is ahead of what memory knew.
    """
    moved: dict[tuple[str, int], int] = {}
    # Ids in memory count down from -1, so the oldest come first.
    for group in memory.execute("SELECT * FROM groups ORDER BY id DESC"):
        number, reported = disk.execute(_GROUP, dict(group)).fetchone()
        moved["groups", group["id"]] = number
        moved["reported", group["id"]] = reported - group["reported"]
    disk.executemany(_TRACEBACK, memory.execute("SELECT digest, text FROM tracebacks"))
    samples = "SELECT group_id, error_id, created, data, traceback FROM samples ORDER BY id"
    for number, *rest in memory.execute(samples):
        disk.execute(_SAMPLE, (moved["groups", number], *rest))
    for mail in memory.execute("SELECT * FROM mails ORDER BY id DESC"):
        [moved["mails", mail["id"]]] = disk.execute(_MAIL, dict(mail)).fetchone()
    disk.executemany("INSERT INTO digests VALUES (?)", memory.execute("SELECT left FROM digests").fetchall())
    return moved


def contents(memory: Database) -> str:
    """What would be lost with it, in words; empty for nothing."""
    [errors] = memory.execute("SELECT coalesce(sum(count), 0) FROM groups").fetchone()
    [mails] = memory.execute("SELECT count(*) FROM mails WHERE state = 'waiting'").fetchone()
    return f"{counted(errors, 'error')} and {counted(mails, 'mail')}" if errors or mails else ""
