"""Groups, their hours and mails -> the figures of one week; and one row that knows which week was summed up last.

The wall clock names the time of the week, and it may be set. So the row has the next time of the week in steady time,
see clock.py. A summary is due from then on, once the wall clock shows another week than that of the last summary. So
a clock that was set makes no second summary of a week, and delays the next one by a week at most. Only at the first
look in a new boot the wall clock alone counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..mail.weekly import WEEK
from . import groups as group_rows

if TYPE_CHECKING:
    from ..mail.weekly import WeeklyTime
    from .clock import Moment
    from .database import Database
    from .groups import Group

HOUR = 3_600
SLACK = HOUR
"""Seconds by which the wall clock may be corrected between two summaries; more counts as set."""
MOST_FREQUENT = 10
"""Groups that a week names."""


@dataclass(frozen=True, slots=True)
class Frequent:
    """A group that failed in a week."""

    group: Group
    """With its newest sample."""
    state: str
    """"open", "muted" or "resolved", now."""
    errors: int
    """Its errors of the week."""
    errors_before: int
    """Those of the week before."""


@dataclass(frozen=True, slots=True)
class Week:
    """What the outbox knows of seven days. Times are epoch seconds, as the wall clock has them now."""

    begin: int
    """A whole hour, because the outbox counts errors by the hour."""
    end: int
    """The end of the last hour that counts."""
    made: float
    """The moment for which the figures of now hold: open and muted groups, waiting and dead mails."""
    since: float
    """When this outbox began to count; a week that began before is not complete."""
    errors: int
    errors_before: int
    """Errors of the seven days before."""
    kinds: int
    """Groups that failed in the week."""
    new: int
    """Groups that failed for the first time."""
    new_before: int
    """Groups that failed for the first time in the seven days before."""
    resolved: int
    """Groups that were resolved in the week, and have not failed since."""
    open: int
    muted: int
    frequent: tuple[Frequent, ...]
    """The groups with the most errors of the week, that with the most first."""
    sent: int
    """Mails that the mail server accepted in the week, of every kind, and that nobody has removed."""
    dead: int
    """Mails that were given up in the week, and that nobody has retried or removed."""
    waiting: int
    all_dead: int
    """Every dead mail of the outbox."""


def week(database: Database, at: Moment, end: int | None = None) -> Week:
    """Return the seven days that end with the last whole hour before an epoch second; without `end`, with this hour."""
    last = int(at.wall // HOUR) + 1 if end is None else end // HOUR
    first, before = last - WEEK // HOUR, last - 2 * WEEK // HOUR
    hours = {"before": before, "first": first, "last": last}
    errors, kinds, errors_before = database.execute(
        """SELECT coalesce(sum(count) FILTER (WHERE hour >= :first), 0),
            count(DISTINCT group_id) FILTER (WHERE hour >= :first), coalesce(sum(count) FILTER (WHERE hour < :first), 0)
        FROM hours WHERE hour >= :before AND hour < :last""",
        hours,
    ).fetchone()
    span = {"before": before * HOUR, "begin": first * HOUR, "end": last * HOUR, "now": at.now, "ahead": at.ahead}
    new, new_before, resolved, is_open, muted = database.execute(
        f"""SELECT count(*) FILTER (WHERE first_seen >= :begin AND first_seen < :end),
            count(*) FILTER (WHERE first_seen >= :before AND first_seen < :begin),
            count(*) FILTER (WHERE resolved AND resolved_at >= :begin AND resolved_at < :end),
            count(*) FILTER (WHERE {group_rows.OPEN}), count(*) FILTER (WHERE NOT resolved AND NOT ({group_rows.OPEN}))
        FROM groups""",  # noqa: S608  a constant
        span,
    ).fetchone()
    # A part of a mail, for recipients with an answer of their own, is no further mail that was sent.
    sent, dead, waiting, all_dead = database.execute(
        """SELECT count(*) FILTER (WHERE state = 'sent' AND NOT part AND in_week),
            count(*) FILTER (WHERE state = 'dead' AND in_week), count(*) FILTER (WHERE state = 'waiting'),
            count(*) FILTER (WHERE state = 'dead')
        FROM (SELECT state, part, finished + :ahead >= :begin AND finished + :ahead < :end AS in_week FROM mails)""",
        span,
    ).fetchone()
    [since] = database.execute("SELECT since + ? FROM summary", (at.ahead,)).fetchone()
    return Week(
        begin=first * HOUR,
        end=last * HOUR,
        made=at.wall,
        since=since,
        errors=errors,
        errors_before=errors_before,
        kinds=kinds,
        new=new,
        new_before=new_before,
        resolved=resolved,
        open=is_open,
        muted=muted,
        frequent=tuple(_frequent(database, hours, at)),
        sent=sent,
        dead=dead,
        waiting=waiting,
        all_dead=all_dead,
    )


def _frequent(database: Database, hours: dict[str, int], at: Moment) -> list[Frequent]:
    rows = database.execute(
        f"""SELECT id, CASE WHEN resolved THEN 'resolved' WHEN {group_rows.OPEN} THEN 'open' ELSE 'muted' END, errors,
            errors_before
        FROM (SELECT group_id, coalesce(sum(count) FILTER (WHERE hour >= :first), 0) AS errors,
                coalesce(sum(count) FILTER (WHERE hour < :first), 0) AS errors_before
            FROM hours WHERE hour >= :before AND hour < :last GROUP BY group_id)
        JOIN groups ON groups.id = group_id WHERE errors > 0 ORDER BY errors DESC, id LIMIT :most""",  # noqa: S608  a constant
        {**hours, "now": at.now, "most": MOST_FREQUENT},
    ).fetchall()
    found = [(group_rows.get(database, id_, 1, at), *rest) for id_, *rest in rows]
    return [Frequent(group, *rest) for group, *rest in found if group is not None]


class _Plan(NamedTuple):
    """What the row says of a time of the week. Times are steady times."""

    summed: int
    """The epoch second at which the last week ended that is summed up."""
    sent: float
    """When that summary was stored, or when this plan began."""
    next: float
    """When the wall clock will have the next time of the week, if nobody sets it."""
    same_boot: bool
    """Whether this boot noted that."""


def due(database: Database, time: WeeklyTime | None, at: Moment) -> int | None:
    """Return the epoch second at which the week ended whose summary is due now; None without any.

    None is due in memory: another worker may have the file.
    """
    if time is None or database.in_memory or (plan := _plan(database, time)) is None:
        return None
    end = time.latest(at.wall)
    if at.now >= plan.sent + 2 * WEEK:
        # Whatever week the wall clock shows: somebody sets it back again and again.
        return end
    if at.now >= plan.next:
        return end if end != plan.summed else None
    # Nothing but the wall clock knows how long the machine was off.
    return end if end > plan.summed and not plan.same_boot else None


def is_planned(database: Database, time: WeeklyTime | None) -> bool:
    """Return whether the row holds for this time of the week, or for None, and for this boot."""
    if time is None:
        return database.execute("SELECT 1 FROM summary WHERE time IS NOT NULL").fetchone() is None
    return (plan := _plan(database, time)) is not None and plan.same_boot


def begin(database: Database, time: WeeklyTime | None, at: Moment) -> None:
    """Plan the next summary, at the first look with another time of the week or in another boot."""
    if time is None:
        database.execute("UPDATE summary SET time = NULL")
        return
    end, upcoming = time.latest(at.wall), at.now + _left(time, at)
    if (plan := _plan(database, time)) is None:
        _store(database, time, _Plan(end, at.now, upcoming, same_boot=True))
    else:
        # A wall clock that is back in an earlier week was not kept while the machine was off.
        _store(database, time, plan._replace(next=min(plan.next, upcoming) if end >= plan.summed else plan.next))


def note(database: Database, time: WeeklyTime, at: Moment) -> None:
    """Note that the summary which is due is stored, and plan the next one."""
    end, left, plan = time.latest(at.wall), _left(time, at), _plan(database, time)
    # If nobody has set the wall clock, the delay is the same in both times, apart from whole weeks.
    difference = at.now - plan.next - (at.wall - end) if plan is not None else 0.0
    weeks = round(difference / WEEK)
    was_set = weeks < 0 or abs(difference - weeks * WEEK) > SLACK
    if plan is not None and plan.same_boot and was_set and left < WEEK / 2:
        # Else two summaries, perhaps within minutes, would be about the same days.
        left += WEEK
    _store(database, time, _Plan(end, at.now, at.now + left, same_boot=True))


def _left(time: WeeklyTime, at: Moment) -> float:
    """Return the seconds until the wall clock has this time of the week again."""
    return time.latest(at.wall) + WEEK - at.wall


def _plan(database: Database, time: WeeklyTime) -> _Plan | None:
    row = database.execute(
        "SELECT summed, sent, next, boot IS (SELECT boot FROM steady) FROM summary WHERE time = ?", (str(time),)
    ).fetchone()
    return None if row is None else _Plan(row[0], row[1], row[2], same_boot=bool(row[3]))


def _store(database: Database, time: WeeklyTime, plan: _Plan) -> None:
    database.execute(
        "UPDATE summary SET time = ?, summed = ?, sent = ?, next = ?, boot = (SELECT boot FROM steady)",
        (str(time), *plan[:3]),
    )
