"""The tables of the outbox -> numbers, however many rows there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stored import Totals

if TYPE_CHECKING:
    from .file import Database


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
