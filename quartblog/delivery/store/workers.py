"""Heartbeats of processes -> rows -> Workers, and what the whole outbox holds -> Totals."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .database import Database


@dataclass(frozen=True, slots=True)
class Worker:
    """The last heartbeat of one process."""

    name: str
    leader: bool
    at: float
    """Epoch seconds."""
    figures: Mapping[str, Any] = field(default_factory=dict)


class Totals(NamedTuple):
    """How much there is, in numbers alone."""

    open_groups: int
    errors: int
    """Failures of the open groups."""
    to_mail: int
    """Those nobody was mailed."""
    waiting: int
    """Mails that are to be sent."""
    dead: int
    """Mails that were given up."""
    next_try: float | None
    """Epoch second at which the next waiting mail is due."""


def beat(database: Database, worker: str, figures: Mapping[str, Any], at: float, *, leader: bool) -> None:
    """Replace the worker's row."""
    database.execute(
        "INSERT OR REPLACE INTO workers (name, leader, at, figures) VALUES (?, ?, ?, ?)",
        (worker, leader, at, json.dumps(dict(figures), default=repr)),
    )


def alive(database: Database, newer_than: float) -> list[Worker]:
    """The workers that have beaten since, by name."""
    rows = database.execute("SELECT name, leader, at, figures FROM workers WHERE at > ? ORDER BY name", (newer_than,))
    return [Worker(name, bool(leader), at, json.loads(figures)) for name, leader, at, figures in rows]


def totals(database: Database) -> Totals:
    """Count what is open, waits or was given up."""
    groups = database.execute(
        "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(count - reported), 0) FROM groups WHERE NOT resolved"
    ).fetchone()
    # By the index alone: a mail has its whole text in its row.
    mails = database.execute(
        """SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'dead'),
            min(next_try) FILTER (WHERE state = 'waiting')
        FROM mails WHERE state IN ('waiting', 'dead')"""
    ).fetchone()
    return Totals(*groups, *mails)
