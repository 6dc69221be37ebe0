"""Tallies of equal errors and what operators do -> rows beside a group: quoted ids, users, counts an hour, history."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..text.escaping import one_line, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..grouping.event import Tally
    from .clock import Moment
    from .database import Database

IDS = 100_000
"""Error ids that the outbox knows at most; the oldest leave first."""
USERS = 1_000
"""Users of a group that are counted exactly."""
HOURS = 30 * 24
"""Hours for which a group's errors are counted one by one."""
NOTE = 2_000
"""Characters of a note that are kept, because retention deletes errors for what notes take up."""
HISTORY = 100
"""Lines that the history of a group keeps, for the same reason; the oldest leave first."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """An error that a visitor may quote by its id. Most of them are no samples."""

    error_id: str
    created: float
    """Epoch seconds."""
    user_id: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody did with a group, or what happened to it."""

    at: float
    """Epoch seconds."""
    who: str
    """"" for the delivery itself."""
    what: str
    """"resolved", "muted", "reopened", "noted", "happened again" or "was unmuted"."""
    note: str


@dataclass(frozen=True, slots=True)
class Fate:
    """A mail that reported errors of a group, or will."""

    mail: int
    kind: str
    """"digest" for the administrators, "copy" for other readers."""
    state: str
    """"waiting", "sent" or "dead"."""
    count: int
    """The errors that it reports."""
    created: float
    """Epoch seconds, as the next."""
    finished: float | None
    why: str
    """The mail server's last answer, "" without any."""


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of a group beside its counts and samples."""

    hours: dict[int, int]
    """Errors by the epoch hour in which they were stored, of the last 30 days."""
    ids: tuple[Quoted, ...]
    """The newest first."""
    history: tuple[Change, ...]
    """The newest first."""
    mails: tuple[Fate, ...]
    """The newest first."""
    asked: Quoted | None
    """The error whose id somebody quotes, if it is one of the group's."""


def add(database: Database, group: int, tally: Tally, at: Moment) -> None:
    """Note the ids, the users and the hour of a tally's errors."""
    hour = int(at.wall // 3600)
    database.execute(
        """INSERT INTO hours (group_id, hour, count) VALUES (?, ?, ?)
        ON CONFLICT (group_id, hour) DO UPDATE SET count = count + excluded.count""",
        (group, hour, tally.count),
    )
    ids = [
        (one_line(error_id), created, None if user_id is None else one_line(user_id))
        for error_id, created, user_id in tally.ids
    ]
    # One statement for all rows: after each one, the thread would wait for the interpreter, which threads that log keep
    # busy, and a fork would wait for the thread.
    database.execute(
        """INSERT INTO ids (error_id, group_id, created, user_id)
        SELECT json_extract(value, '$[0]'), ?, json_extract(value, '$[1]'), json_extract(value, '$[2]')
        FROM json_each(?)""",
        (group, json.dumps(ids)),
    )
    database.execute("DELETE FROM ids WHERE id <= (SELECT max(id) FROM ids) - ?", (IDS,))
    if users := {user_id for _, _, user_id in ids if user_id is not None}:
        add_users(database, group, users)


def add_users(database: Database, group: int, users: set[str]) -> None:
    """Count these users, once each, until there are more than USERS."""
    [known] = database.execute("SELECT users FROM groups WHERE id = ?", (group,)).fetchone()
    if known > USERS:
        return
    insert = "INSERT OR IGNORE INTO users SELECT ?, value FROM json_each(?)"
    if new := database.execute(insert, (group, json.dumps(sorted(users)))).rowcount:
        database.execute("UPDATE groups SET users = min(users + ?, ?) WHERE id = ?", (new, USERS + 1, group))


# One statement for many rows, as in `add`. SQLite takes ON for a part of a join where no WHERE precedes it.
_MERGE = {
    "SELECT error_id, group_id, created, user_id FROM ids ORDER BY id": """
        INSERT INTO ids (error_id, group_id, created, user_id) SELECT json_extract(value, '$[0]'),
            json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]') FROM json_each(?)""",
    "SELECT user_id, group_id FROM users": """
        INSERT OR IGNORE INTO users (user_id, group_id) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]')
        FROM json_each(?)""",
    "SELECT hour, group_id, count FROM hours": """
        INSERT INTO hours (hour, group_id, count) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
            json_extract(value, '$[2]') FROM json_each(?) WHERE true
        ON CONFLICT (group_id, hour) DO UPDATE SET count = count + excluded.count""",
    "SELECT at, group_id, who, what, note FROM history ORDER BY id": """
        INSERT INTO history (at, group_id, who, what, note) SELECT json_extract(value, '$[0]'),
            json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
            json_extract(value, '$[4]') FROM json_each(?)""",
}


def merge(memory: Database, disk: Database, groups: Mapping[int, int]) -> None:
    """Add what the memory knows beside its groups to the file. `groups`: the id that each group has got there."""
    for select, insert in _MERGE.items():
        rows = [(first, groups[group], *rest) for first, group, *rest in memory.execute(select)]
        disk.execute(insert, (json.dumps(rows),))
    disk.execute("DELETE FROM ids WHERE id <= (SELECT max(id) FROM ids) - ?", (IDS,))
    disk.execute(
        """UPDATE groups SET users = min((SELECT count(*) FROM users WHERE group_id = groups.id), ?)
        WHERE id IN (SELECT value FROM json_each(?))""",
        (USERS + 1, json.dumps(list(groups.values()))),
    )


def note(database: Database, group: int, change: Change) -> None:
    """Add a line to the group's history, and forget the oldest ones."""
    database.execute(
        "INSERT INTO history (group_id, at, who, what, note) VALUES (?, ?, ?, ?, ?)",
        (group, change.at, one_line(change.who), change.what, _storable(shortened(change.note, NOTE))),
    )
    database.execute(
        """DELETE FROM history WHERE group_id = ? AND id <=
        (SELECT id FROM history WHERE group_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)""",
        (group, group, HISTORY),
    )


def forget_old_hours(database: Database, at: Moment) -> None:
    """Delete the counts of hours that are more than 30 days old, by both clocks: the wall clock may have been set."""
    database.execute("DELETE FROM hours WHERE hour < ?", (int(min(at) // 3600) - HOURS,))


def of_group(database: Database, group: int, asked: Sequence[str], ahead: float, ids: int) -> Details:
    """Return the details of a group, with its newest ids. `asked`: spellings of an error id."""
    hours = database.execute("SELECT hour, count FROM hours WHERE group_id = ? ORDER BY hour", (group,))
    quoted = database.execute(
        "SELECT error_id, created, user_id FROM ids WHERE group_id = ? ORDER BY id DESC LIMIT ?", (group, ids)
    )
    one = database.execute(
        "SELECT error_id, created, user_id FROM ids WHERE error_id IN (?, ?) AND group_id = ? ORDER BY id DESC LIMIT 1",
        (*asked, group),
    ).fetchone()
    history = database.execute(
        "SELECT at, who, what, note FROM history WHERE group_id = ? ORDER BY at DESC, id DESC", (group,)
    )
    mails = database.execute(
        """SELECT m.id, m.kind, m.state, held.count, m.created + :ahead, m.finished + :ahead, m.last_error
        FROM groups AS g JOIN mail_groups AS held ON held.fingerprint = g.fingerprint
            JOIN mails AS m ON m.id = held.mail_id
        WHERE g.id = :group ORDER BY m.created DESC, abs(m.id) DESC""",
        {"group": group, "ahead": ahead},
    )
    return Details(
        hours=dict(hours),
        ids=tuple(Quoted(*row) for row in quoted),
        history=tuple(Change(*row) for row in history),
        mails=tuple(Fate(*row) for row in mails),
        asked=None if one is None else Quoted(*one),
    )


def _storable(text: str) -> str:
    """Return the text with its lines, and without lone surrogates, which SQLite cannot store."""
    return text.encode("utf-8", "replace").decode("utf-8")
