"""Tallies of equal errors -> rows of groups and their samples -> Groups; each function is one part of a transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..grouping.event import Event
from ..text.escaping import one_line

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from ..grouping.event import Tally
    from .database import Database


@dataclass(frozen=True, slots=True)
class Group:
    """All events of one fingerprint. Times are epoch seconds."""

    id: int
    """Negative while the group is only in this process's memory."""
    fingerprint: str
    title: str
    level: int
    """The highest of its events."""
    logger: str
    count: int
    reported: int
    """How many of `count` were mailed."""
    first_seen: float
    last_seen: float
    last_reported: float | None
    reopened: bool
    """It happened again after somebody resolved it, and that was not mailed yet."""
    samples: tuple[Event, ...]
    """Some of the latest events, newest first."""
    place: str
    route: str | None
    function: str = ""
    resolved: bool = False
    resolved_at: float | None = None
    """When it was last resolved; stays when it is opened again."""


_INSERT = """
    INSERT INTO groups (id, fingerprint, title, level, logger, place, function, route, count, first_seen, last_seen)
    VALUES (:id, :fingerprint, :title, :level, :logger, :place, :function, :route, :count, :first_seen, :last_seen)
    RETURNING id"""

# Tried first: an upsert would use up a number each time, and people type these.
_UPDATE = """
    UPDATE groups SET
        level = max(level, :level),
        place = :place,
        function = :function,
        route = coalesce(:route, route),
        count = count + :count,
        first_seen = min(first_seen, :first_seen),
        last_seen = max(last_seen, :last_seen),
        reopened = reopened OR resolved,
        resolved = 0
    WHERE fingerprint = :fingerprint
    RETURNING id"""


def add(database: Database, fingerprint: str, tally: Tally, samples: int) -> None:
    """Count a tally in, and keep the newest samples."""
    event = tally.newest[-1]
    row = {
        "fingerprint": one_line(fingerprint),
        "title": one_line(event.title),
        "level": tally.level,
        "logger": one_line(event.logger),
        "place": one_line(event.place),
        "function": one_line(event.function),
        "route": None if event.route is None else one_line(event.route),
        "count": tally.count,
        "first_seen": tally.first_seen,
        "last_seen": tally.last_seen,
    }
    known = database.execute(_UPDATE, row).fetchone()
    if known is None and rename_earlier(database, event):
        known = database.execute(_UPDATE, row).fetchone()
    [group] = known or database.execute(_INSERT, row | {"id": database.next_id()}).fetchone()
    newest = list(tally.newest)[-samples:]
    texts = {event.traceback: _stored(event.traceback) for event in newest}
    # One statement for all: between two the thread may have to wait for the interpreter, and other processes for it.
    _insert(database, "INSERT OR IGNORE INTO tracebacks (digest, text)", list(texts.values()))
    _insert(
        database,
        "INSERT INTO samples (group_id, error_id, created, data, traceback)",
        [
            (group, one_line(event.error_id), event.created, event.to_json(), texts[event.traceback][0])
            for event in newest
        ],
    )
    trim_samples(database, group, samples)


def rename_earlier(database: Database, event: Event) -> bool:
    """Give the group that an earlier version of the fingerprint made of this failure the current one, and its title.

    False where there is none, or where the current fingerprint has a group.
    """
    renamed = """
        UPDATE groups SET fingerprint = :fingerprint, title = :title
        WHERE fingerprint = :earlier AND NOT EXISTS (SELECT 1 FROM groups WHERE fingerprint = :fingerprint)
        RETURNING id"""
    names = {"fingerprint": one_line(event.fingerprint), "title": one_line(event.title)}
    return any(database.execute(renamed, names | {"earlier": one_line(each)}).fetchone() for each in event.earlier)


def trim_samples(database: Database, group: int, samples: int) -> None:
    """Leave the group its latest samples."""
    database.execute(
        """DELETE FROM samples WHERE group_id = :group AND id NOT IN
        (SELECT id FROM samples WHERE group_id = :group ORDER BY created DESC, id DESC LIMIT :samples)""",
        {"group": group, "samples": samples},
    )


def listed(database: Database, *, resolved: bool | None, limit: int, samples: int) -> list[Group]:
    """The groups seen last come first."""
    rows = database.execute(
        """SELECT * FROM groups WHERE :resolved IS NULL OR resolved = :resolved
        ORDER BY last_seen DESC, id DESC LIMIT :limit""",
        {"resolved": resolved, "limit": limit},
    ).fetchall()
    return _groups(database, rows, samples)


def unreported(database: Database, samples: int) -> list[Group]:
    """The groups with events nobody was mailed, those seen first come first."""
    rows = database.execute(
        "SELECT * FROM groups WHERE count > reported AND NOT resolved ORDER BY first_seen, id"
    ).fetchall()
    return _groups(database, rows, samples)


def find(database: Database, key: int | str) -> int | None:
    """The id of the group with this id, this error id among its samples, or this fingerprint."""
    if isinstance(key, str):
        for query in ("SELECT group_id FROM samples WHERE error_id = ?", "SELECT id FROM groups WHERE fingerprint = ?"):
            if (row := database.execute(query, (one_line(key),)).fetchone()) is not None:
                return int(row[0])
        try:
            key = int(key)
        except ValueError:
            return None
    if abs(key) >= 1 << 63:
        return None
    row = database.execute("SELECT id FROM groups WHERE id = ?", (key,)).fetchone()
    return None if row is None else int(row[0])


def get(database: Database, group: int, samples: int) -> Group | None:
    """The group with its samples."""
    rows = database.execute("SELECT * FROM groups WHERE id = ?", (group,)).fetchall()
    found = _groups(database, rows, samples)
    return found[0] if found else None


def resolve(database: Database, group: int, at: float) -> None:
    """Resolving twice changes nothing."""
    database.execute(
        "UPDATE groups SET resolved = 1, reopened = 0, resolved_at = ? WHERE id = ? AND NOT resolved", (at, group)
    )


def mark_reported(database: Database, fingerprint: str, more: int, at: float) -> None:
    """Note that so many more of the group's events were mailed."""
    database.execute(
        """UPDATE groups SET reported = min(count, reported + ?), last_reported = ?, reopened = 0
        WHERE fingerprint = ?""",
        (more, at, one_line(fingerprint)),
    )


def _groups(database: Database, rows: Sequence[sqlite3.Row], samples: int) -> list[Group]:
    return [_group(row, _samples(database, row["id"], samples)) for row in rows]


def _samples(database: Database, group: int, samples: int) -> tuple[Event, ...]:
    if not samples:
        return ()
    query = """SELECT data, text FROM samples LEFT JOIN tracebacks ON digest = traceback
        WHERE group_id = ? ORDER BY created DESC, id DESC LIMIT ?"""
    return tuple(
        Event.from_json(data, (text or b"").decode("utf-8", "surrogatepass"))
        for data, text in database.execute(query, (group, samples))
    )


def _stored(traceback: str) -> tuple[int, bytes]:
    """Its key and its bytes: SQLite stores no lone surrogate as text."""
    text = traceback.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), signed=True), text


def _insert(database: Database, insert: str, rows: Sequence[tuple[object, ...]]) -> None:
    places = ", ".join([f"({', '.join('?' * len(rows[0]))})"] * len(rows))
    database.execute(f"{insert} VALUES {places}", [value for row in rows for value in row])


def _group(row: sqlite3.Row, samples: tuple[Event, ...]) -> Group:
    values = dict(row)
    for name in ("reopened", "resolved"):
        values[name] = bool(values[name])
    return Group(samples=samples, **values)
