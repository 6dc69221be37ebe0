"""What somebody looks for -> one page of groups, with their last day and the fate of their latest mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..text.escaping import one_line
from . import groups as group_rows
from .details import Fate

if TYPE_CHECKING:
    from .clock import Moment
    from .database import Database
    from .groups import Group

GroupState = Literal["open", "resolved", "muted", "unresolved"]
"""A group is open if it is neither resolved nor muted. One that is unresolved may be muted."""
Order = Literal["last", "count"]

DAY_HOURS = 24
"""Hours of a group that a page shows."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which groups to show: those that meet all conditions. None and "" are no condition."""

    state: GroupState | None = None
    level: int | None = None
    """The lowest level."""
    route: str | None = None
    release: str | None = None
    """The first or the last release."""
    words: str = ""
    """All of them, in what the latest error says, its exception's type, its place, function, logger or route.

    A word may also be an error id of the group.
    """
    order: Order = "last"
    """The latest error first, or the largest count."""
    after: tuple[float, int] | None = None
    """The place of the last group of the page before: its `key`."""
    limit: int = 50
    samples: int = 0
    """The newest samples to read with each group."""


@dataclass(frozen=True, slots=True)
class Found:
    """A group on a page."""

    group: Group
    hours: tuple[int, ...]
    """Errors in each of the last 24 hours, the current one last."""
    fate: Fate | None
    """The latest mail about it."""
    key: tuple[float, int]
    """Its place in the order, for the next page."""


@dataclass(frozen=True, slots=True)
class GroupPage:
    """Some of the groups that were looked for."""

    found: tuple[Found, ...]
    more: bool
    """Whether further groups follow."""


_STATES: dict[GroupState, str] = {
    "open": group_rows.OPEN,
    "resolved": "resolved",
    "muted": f"NOT resolved AND NOT ({group_rows.OPEN})",
    "unresolved": "NOT resolved",
}
# In the order of the column and then of the id, so that no two groups have one place.
_ORDERS: dict[Order, str] = {"last": "touched", "count": "count"}
_TEXTS = "title || ' ' || message || ' ' || place || ' ' || function || ' ' || logger || ' ' || coalesce(route, '')"


def page(database: Database, query: Query, at: Moment) -> GroupPage:
    """Return the groups that the query asks for.

    Three statements read them, however many there are. Samples take one more for each group.
    """
    order = _ORDERS[query.order]
    conditions, values = _conditions(query, at)
    if query.after is not None:
        conditions.append(f"({order}, id) < (:after_key, :after_id)")
        values["after_key"], values["after_id"] = query.after
    rows = database.execute(
        f"SELECT * FROM groups WHERE {' AND '.join(conditions)} ORDER BY {order} DESC, id DESC LIMIT :limit",  # noqa: S608  constants
        values | {"limit": query.limit + 1},
    ).fetchall()
    shown = rows[: query.limit]
    ids = [row["id"] for row in shown]
    hours, fates = _hours(database, ids, at), _fates(database, ids, at)
    return GroupPage(
        found=tuple(
            Found(
                group=group,
                hours=hours.get(group.id, (0,) * DAY_HOURS),
                fate=fates.get(group.id),
                key=(row[order], row["id"]),
            )
            for row, group in zip(shown, group_rows.of_rows(database, shown, query.samples, at), strict=True)
        ),
        more=len(rows) > query.limit,
    )


def total(database: Database, query: Query, at: Moment) -> int:
    """Return how many groups all pages of the query have."""
    conditions, values = _conditions(query, at)
    counted = f"SELECT count(*) FROM groups WHERE {' AND '.join(conditions)}"  # noqa: S608  constants
    return int(database.execute(counted, values).fetchone()[0])


def _conditions(query: Query, at: Moment) -> tuple[list[str], dict[str, object]]:
    values: dict[str, object] = {"now": at.now}
    conditions = ["1" if query.state is None else f"({_STATES[query.state]})"]
    if query.level is not None:
        conditions.append("level >= :level")
        values["level"] = query.level
    if query.route:
        conditions.append("route = :route")
        # As it is stored: one that was typed may have a lone surrogate.
        values["route"] = one_line(query.route)
    if query.release:
        conditions.append(":release IN (first_release, last_release)")
        values["release"] = one_line(query.release)
    for number, word in enumerate(query.words.split()[:10]):
        its_id = f"id IN (SELECT group_id FROM ids WHERE error_id = :word{number})"  # noqa: S608  a number
        conditions.append(f"(instr(lower({_TEXTS}), :word{number}) OR {its_id})")
        # Bytes, because SQLite lowers ASCII letters alone.
        values[f"word{number}"] = word.encode("utf-8", "replace").lower().decode("utf-8")
    return conditions, values


def _hours(database: Database, ids: list[int], at: Moment) -> dict[int, tuple[int, ...]]:
    first = int(at.wall // 3600) - DAY_HOURS + 1
    found: dict[int, list[int]] = {}
    for group, hour, count in database.execute(
        f"SELECT group_id, hour, count FROM hours WHERE hour >= ? AND group_id IN ({_places(ids)})",  # noqa: S608  places
        (first, *ids),
    ):
        # The clock may have been ahead.
        if hour < first + DAY_HOURS:
            found.setdefault(group, [0] * DAY_HOURS)[hour - first] = count
    return {group: tuple(counts) for group, counts in found.items()}


def _fates(database: Database, ids: list[int], at: Moment) -> dict[int, Fate]:
    rows = database.execute(
        f"""SELECT g.id, m.id, m.kind, m.state, held.count, m.created + ?, m.finished + ?, m.last_error
        FROM groups AS g JOIN mail_groups AS held ON held.fingerprint = g.fingerprint
            JOIN mails AS m ON m.id = held.mail_id
        WHERE g.id IN ({_places(ids)}) ORDER BY m.created, m.id""",  # noqa: S608  places
        (at.ahead, at.ahead, *ids),
    )
    # The latest of each group stays.
    return {row[0]: Fate(*row[1:]) for row in rows}


def _places(values: list[int]) -> str:
    return ", ".join("?" * len(values))
