"""Each process, once a second -> its row in the outbox, until it leaves.

Only the delivery calls these; `Outbox.workers` reads the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import digests as digest_rows
from . import retention
from . import workers as worker_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .clock import Moment
    from .database import Database
    from .fallback import Storage


class Heartbeats:
    """The rows of the workers that beat here, one a process."""

    def __init__(self, rows: Storage) -> None:
        """Share the rows of an outbox."""
        self._rows = rows
        self._beaten: set[str] = set()
        self.recent_losses: tuple[str, ...] = ()
        """What the full outbox dropped within an hour before the last heartbeat, in words without paths."""

    def beat(self, worker: str, *, leader: bool, figures: Mapping[str, Any]) -> None:
        """Store a heartbeat of the worker, with its figures."""

        def note(database: Database, at: Moment) -> None:
            worker_rows.beat(database, worker, figures, at.now, leader=leader)
            self.recent_losses = retention.recent(database, at.now)
            if not database.in_memory:
                self._rows.digests = digest_rows.since(database, at.now - retention.DAY)

        self._beaten.add(worker)
        self._rows.write(note, durable=False)

    def leave(self, worker: str, *, figures: Mapping[str, Any]) -> None:
        """Delete the last heartbeat of the worker, if it has given one here: its process ends in good order.

        Its last figures stay in `Outbox.counts`.
        """
        if worker in self._beaten:
            self._beaten.remove(worker)
            self._rows.write(lambda database, _: worker_rows.leave(database, worker, figures), durable=False)
