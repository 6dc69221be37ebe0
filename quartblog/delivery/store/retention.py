"""A full or old outbox -> rows that leave it: counts stay longest, and waiting mail leaves last of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .database import Database

DAY = 86_400.0
"""Seconds after which a silent worker and the time of a digest are forgotten."""

_CHUNK = 64
"""Rows that leave at most before the size is looked at again; the first time it is one, rows may be large."""
_PAGES = 2_000
"""Pages that are given back at a time, in about 20 ms."""

_STEPS = (
    """UPDATE mails SET data = x'' WHERE id IN
        (SELECT id FROM mails WHERE state = 'sent' AND data != x'' ORDER BY created LIMIT ?)""",
    # All but the newest of each group, the oldest first.
    """DELETE FROM samples WHERE id IN
        (SELECT id FROM samples AS one WHERE EXISTS
            (SELECT 1 FROM samples WHERE group_id = one.group_id AND id > one.id)
        ORDER BY id LIMIT ?)""",
    "DELETE FROM samples WHERE id IN (SELECT id FROM samples ORDER BY id LIMIT ?)",
    """DELETE FROM mails WHERE id IN
        (SELECT id FROM mails WHERE state != 'waiting' ORDER BY state DESC, created LIMIT ?)""",
    """DELETE FROM groups WHERE id IN
        (SELECT id FROM groups ORDER BY resolved DESC, count > reported, touched LIMIT ?)""",
)


def used_bytes(database: Database) -> int:
    """Bytes of the file that hold something."""
    [used] = database.execute(
        """SELECT page_size * (page_count - freelist_count)
        FROM pragma_page_size, pragma_page_count, pragma_freelist_count"""
    ).fetchone()
    return int(used)


def to_size(database: Database, max_bytes: int) -> None:
    """Make room when more than `max_bytes` are used: down to nine tenths, so that it is not needed soon again."""
    if used_bytes(database) <= max_bytes:
        return
    target = max_bytes * 9 // 10
    for statement in _STEPS:
        chunk = 1
        while used_bytes(database) > target and database.execute(statement, (chunk,)).rowcount:
            chunk = min(2 * chunk, _CHUNK)


def by_age(database: Database, now: float, max_age: float) -> int:
    """Forget what ended more than `max_age` seconds ago; returns how many errors of it nobody was mailed."""
    oldest = {"oldest": now - max_age}
    [unreported] = database.execute(
        "SELECT coalesce(sum(count - reported), 0) FROM groups WHERE touched < :oldest AND NOT resolved", oldest
    ).fetchone()
    database.execute("DELETE FROM samples WHERE touched < :oldest", oldest)
    database.execute("DELETE FROM groups WHERE touched < :oldest", oldest)
    # A waiting mail is not finished, and stays.
    database.execute("DELETE FROM mails WHERE finished < :oldest", oldest)
    database.execute("DELETE FROM digests WHERE left < ?", (now - DAY,))
    database.execute("DELETE FROM workers WHERE at < ?", (now - DAY,))
    return int(unreported)


def give_back(database: Database) -> None:
    """Let the file shrink by some of what is free in it."""
    [free] = database.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(free, _PAGES)):
        # Each call frees one page: the sqlite3 module steps a statement without rows only once.
        database.execute("PRAGMA incremental_vacuum")
