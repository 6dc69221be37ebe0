"""Heartbeats as rows: each function is one part of a transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .stored import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .file import Database


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
