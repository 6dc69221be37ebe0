"""Tallies of equal errors -> rows of groups and samples -> Groups. Each function is one part of a transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..grouping.event import Event
from ..text.escaping import one_line, shortened
from . import details

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from ..grouping.event import Tally
    from .clock import Moment
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
    """Whether it happened again after it was resolved, and no mail has reported that yet."""
    samples: tuple[Event, ...]
    """Some of the latest events, newest first."""
    place: str
    route: str | None
    function: str = ""
    resolved: bool = False
    resolved_at: float | None = None
    """When it was last resolved; it stays after the group was reopened."""
    muted_until: float | None = None
    """No mail reports it before; None for a group that is not muted until a time, or no longer."""
    muted_more: int | None = None
    """No mail reports it until more than so many errors come within `muted_window` seconds; None: not muted so."""
    muted_window: float | None = None
    died: int = 0
    """Unreported errors of a digest that the server refused. They wait for the next one, but make none due."""
    message: str = ""
    """What the latest one says, on one line: the words of its exception, and its message. A long text is shortened."""
    users: int = 0
    """How many different users met it, up to 1,000; 1,001 for more."""
    first_release: str = ""
    """The version of the program in which it was seen first; "" where none was named."""
    last_release: str = ""
    refusals: int = 0
    """Digests with it whose content the server refused within a day, unless an operator has resolved it since."""

    @property
    def users_exact(self) -> bool:
        """Whether `users` is their number; False where there are more than 1,000."""
        return self.users <= details.USERS

    @property
    def state(self) -> str:
        """ "resolved", "muted", "again" for one that is open after it was resolved, or "open"."""
        if self.resolved:
            return "resolved"
        if self.muted_until is not None or self.muted_more is not None:
            return "muted"
        return "again" if self.resolved_at is not None else "open"


_INSERT = """
    INSERT INTO groups (id, fingerprint, title, level, logger, place, function, route, count, first_seen, last_seen,
        touched, message, first_release, last_release)
    VALUES (:id, :fingerprint, :title, :level, :logger, :place, :function, :route, :count, :first_seen, :last_seen,
        :now, :message, :release, :release)
    RETURNING id, muted_more"""

# A window without enough errors begins anew with the next one.
_COUNT_FOR_MUTE = """
    UPDATE groups SET muted_base = count - :count, muted_since = :now
    WHERE id = :id AND :now - muted_since > muted_window"""
# Reopened, so that a digest reports it at once.
_UNMUTE = """
    UPDATE groups SET muted_more = NULL, reopened = 1 WHERE id = :id AND count - muted_base > muted_more RETURNING 1"""

# Tried first, because an upsert uses up an id each time, and people type ids.
# `reopened` is 1 until a digest has a text about the group, then 2 until the mail server has accepted that digest.
_UPDATE = """
    UPDATE groups SET
        level = max(level, :level),
        place = :place,
        function = :function,
        route = coalesce(:route, route),
        count = count + :count,
        first_seen = min(first_seen, :first_seen),
        last_seen = max(last_seen, :last_seen),
        touched = max(touched, :now),
        reopened = iif(resolved, 1, reopened),
        resolved = 0,
        refusals = iif(refused_at <= :now - 86400, 0, refusals),
        first_release = iif(first_release = '', :release, first_release),
        last_release = :release,
        message = :message
    WHERE fingerprint = :fingerprint
    RETURNING id, muted_more"""


MESSAGE = 500
"""Characters that a group keeps of what the latest one says; its samples have all of it."""
MOST_DELAY = 60.0
"""Seconds from an event to its storage that count at most, because the wall clock may be wrong."""


def add(  # noqa: PLR0913  what and how much, from where and when
    database: Database, fingerprint: str, tally: Tally, samples: int, at: Moment, *, release: str = ""
) -> None:
    """Count a tally in, and keep the newest samples. `release`: the version of the program that failed."""
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
        "now": at.now,
        "release": one_line(release),
        "message": one_line(shortened(event.said, MESSAGE)),
    }
    known = database.execute(_UPDATE, row).fetchone()
    if known is None and rename_earlier(database, event):
        known = database.execute(_UPDATE, row).fetchone()
    group, muted = known or database.execute(_INSERT, row | {"id": database.next_id()}).fetchone()
    newest = list(tally.newest)[-samples:]
    texts = {event.traceback: _stored(event.traceback) for event in newest}
    # One statement for all: between two, the thread may wait for the interpreter, and other processes for the thread.
    _insert(database, "INSERT OR IGNORE INTO tracebacks (digest, text)", list(texts.values()))
    _insert(
        database,
        "INSERT INTO samples (group_id, error_id, created, touched, data, traceback)",
        [
            (
                group,
                one_line(event.error_id),
                event.created,
                at.now - min(max(at.wall - event.created, 0.0), MOST_DELAY),
                event.to_json(),
                texts[event.traceback][0],
            )
            for event in newest
        ],
    )
    trim_samples(database, group, samples)
    details.add(database, group, tally, at)
    if muted is not None:
        counting = {"id": group, "count": tally.count, "now": at.now}
        database.execute(_COUNT_FOR_MUTE, counting)
        if database.execute(_UNMUTE, counting).fetchone():
            details.note(database, group, details.Change(at.wall, "", "was unmuted", f"more than {muted} errors came"))


def rename_earlier(database: Database, event: Event) -> bool:
    """Rename the group of an earlier fingerprint of this failure to the current fingerprint and title.

    Return False if there is no such group, or if the current fingerprint has a group.
    """
    renamed = """
        UPDATE groups SET fingerprint = :fingerprint, title = :title
        WHERE fingerprint = :earlier AND NOT EXISTS (SELECT 1 FROM groups WHERE fingerprint = :fingerprint)
        RETURNING id"""
    names = {"fingerprint": one_line(event.fingerprint), "title": one_line(event.title)}
    for earlier in map(one_line, event.earlier):
        if database.execute(renamed, names | {"earlier": earlier}).fetchone():
            changed = "UPDATE OR REPLACE mail_groups SET fingerprint = ? WHERE fingerprint = ?"
            database.execute(changed, (names["fingerprint"], earlier))
            return True
    return False


def trim_samples(database: Database, group: int, samples: int) -> None:
    """Delete all but the latest samples of the group."""
    database.execute(
        """DELETE FROM samples WHERE group_id = :group AND id NOT IN
        (SELECT id FROM samples WHERE group_id = :group ORDER BY touched DESC, created DESC, id DESC LIMIT :samples)""",
        {"group": group, "samples": samples},
    )


def listed(database: Database, *, resolved: bool | None, limit: int, samples: int, at: Moment) -> list[Group]:
    """Return groups, the ones that failed last first."""
    rows = database.execute(
        """SELECT * FROM groups WHERE :resolved IS NULL OR resolved = :resolved
        ORDER BY touched DESC, last_seen DESC, id DESC LIMIT :limit""",
        {"resolved": resolved, "limit": limit},
    ).fetchall()
    return of_rows(database, rows, samples, at)


OPEN = "NOT resolved AND (muted_until IS NULL OR muted_until <= :now) AND muted_more IS NULL"
"""The condition of a group that mails may report."""
_UNREPORTED = f"count > reported AND {OPEN}"
UNREPORTED_COUNTS = f"""SELECT fingerprint, count - reported AS new, reported AS base FROM groups
    WHERE {_UNREPORTED}"""  # noqa: S608  constants
"""The errors of each group that no mail has reported."""
# The last condition holds if the count has passed a power of two since the last mail: its highest bit differs.
_DUE = f"""{_UNREPORTED} AND (last_reported IS NULL OR (reopened AND NOT died) OR last_reported <= :now - :window
    OR count | (reported + died) > 2 * (count & (reported + died)))"""


def unreported(database: Database, samples: int, at: Moment) -> list[Group]:
    """Return the groups with errors that no mail has reported, the oldest first."""
    query = f"SELECT * FROM groups WHERE {_UNREPORTED} ORDER BY first_seen, id"  # noqa: S608  constants
    return of_rows(database, database.execute(query, {"now": at.now}).fetchall(), samples, at)


def any_due(database: Database, window: float, now: float) -> bool:
    """Return whether a digest is to report a group at a steady time.

    Of the groups in `unreported`, those are due that no mail has reported, that came back after they were resolved,
    whose count has passed a power of two since the last mail, or whose last mail is `window` seconds old.
    """
    query = f"SELECT 1 FROM groups WHERE {_DUE} LIMIT 1"  # noqa: S608  constants
    return database.execute(query, {"now": now, "window": window}).fetchone() is not None


_BY_TEXT = (
    "SELECT group_id FROM ids WHERE error_id = ? ORDER BY id DESC LIMIT 1",
    # A sample may be older than all ids.
    "SELECT group_id FROM samples WHERE error_id = ?",
    "SELECT id FROM groups WHERE fingerprint = ?",
)


def spellings(key: str) -> tuple[str, str]:
    """Return the key as it is, and as it is meant.

    People type an error id in upper case, and copy the `[id …]` of a log line with it.
    """
    return one_line(key), one_line(key.strip().strip("[]").strip().lower().removeprefix("id ").strip())


def find(database: Database, key: int | str) -> int | None:
    """Return the id of the group with this id, with an error of this id, or with this fingerprint."""
    if isinstance(key, str):
        for text in spellings(key):
            for query in _BY_TEXT:
                if (row := database.execute(query, (text,)).fetchone()) is not None:
                    return int(row[0])
        try:
            key = int(spellings(key)[-1])
        except ValueError:
            return None
    if abs(key) >= 1 << 63:
        return None
    row = database.execute("SELECT id FROM groups WHERE id = ?", (key,)).fetchone()
    return None if row is None else int(row[0])


def get(database: Database, group: int, samples: int, at: Moment) -> Group | None:
    """Return the group with its samples."""
    rows = database.execute("SELECT * FROM groups WHERE id = ?", (group,)).fetchall()
    found = of_rows(database, rows, samples, at)
    return found[0] if found else None


def resolve(database: Database, group: int, at: float) -> bool:
    """Close the group at an epoch second; resolving twice changes nothing. Return whether it was open.

    It is no longer muted, because mails report an error that comes back.
    """
    changed = database.execute(
        """UPDATE groups SET resolved = 1, reopened = 0, refusals = 0, resolved_at = ?, muted_until = NULL,
            muted_more = NULL
        WHERE id = ? AND NOT resolved""",
        (at, group),
    )
    return changed.rowcount > 0


def mute(database: Database, group: int, seconds: float, more: int | None, now: float) -> bool:
    """Report the group in no mail for so many seconds after a steady time. Return True.

    With `more`, until more than so many errors came within `seconds`.
    """
    database.execute(
        """UPDATE groups SET muted_until = :until, muted_more = :more, muted_window = :window, muted_base = count,
            muted_since = :now WHERE id = :id""",
        {"id": group, "until": now + seconds if more is None else None, "more": more, "window": seconds, "now": now},
    )
    return True


def reopen(database: Database, group: int) -> bool:
    """Undo `resolve` and `mute`. Return whether there was anything to undo."""
    changed = database.execute(
        """UPDATE groups SET resolved = 0, muted_until = NULL, muted_more = NULL
        WHERE id = ? AND (resolved OR muted_until IS NOT NULL OR muted_more IS NOT NULL)""",
        (group,),
    )
    return changed.rowcount > 0


def of_rows(database: Database, rows: Sequence[sqlite3.Row], samples: int, at: Moment) -> list[Group]:
    """Return the groups of these rows, each with so many samples at most."""
    return [_group(row, _samples(database, row["id"], samples), at) for row in rows]


def _samples(database: Database, group: int, samples: int) -> tuple[Event, ...]:
    if not samples:
        return ()
    query = """SELECT data, text FROM samples LEFT JOIN tracebacks ON digest = traceback
        WHERE group_id = ? ORDER BY touched DESC, created DESC, id DESC LIMIT ?"""
    return tuple(
        Event.from_json(data, (text or b"").decode("utf-8", "surrogatepass"))
        for data, text in database.execute(query, (group, samples))
    )


def _stored(traceback: str) -> tuple[int, bytes]:
    """Return the traceback's key and its bytes, because SQLite stores no lone surrogate as text."""
    text = traceback.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), signed=True), text


def _insert(database: Database, insert: str, rows: Sequence[tuple[object, ...]]) -> None:
    places = ", ".join([f"({', '.join('?' * len(rows[0]))})"] * len(rows))
    database.execute(f"{insert} VALUES {places}", [value for row in rows for value in row])


def _group(row: sqlite3.Row, samples: tuple[Event, ...], at: Moment) -> Group:
    values = dict(row)
    if values["muted_until"] is not None and values["muted_until"] <= at.now:
        values["muted_until"] = None
    for internal in ("touched", "copied", "refused_at", "muted_base", "muted_since"):
        del values[internal]
    for name in ("reopened", "resolved"):
        values[name] = bool(values[name])
    for name in ("last_reported", "muted_until"):
        if values[name] is not None:
            values[name] += at.ahead
    return Group(samples=samples, **values)
