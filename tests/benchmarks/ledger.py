"""What became of the errors a blog has answered: its outbox and the heartbeats of its workers tell.

Nothing is easier to speed up than an error nobody hears of.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quartblog.delivery import Outbox, OutboxOptions
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts since the start, or of one run."""

    answered: int
    """Errors that visitors were told of."""
    stored: int
    """Errors in the outbox."""
    refused: int
    """Records a full queue did not take."""
    unwritten: int
    """Records that were taken and are not in the log file."""
    late: float
    """Milliseconds from the call that logs to the log file: the p99 of the latest records, of the slowest worker."""

    @property
    def lost(self) -> int:
        """Errors somebody met that the outbox or the file knows nothing of; all that is refused is in neither."""
        return max(self.answered - self.stored, self.refused + self.unwritten, 0)

    def since(self, before: Ledger) -> Ledger:
        """What came after."""
        return Ledger(
            self.answered - before.answered,
            self.stored - before.stored,
            self.refused - before.refused,
            self.unwritten - before.unwritten,
            self.late,
        )

    def __str__(self) -> str:
        verdict = f"{self.lost:,} LOST" if self.lost else "every one is in outbox and file"
        found = f"{self.answered:,} errors answered, {self.stored:,} in the outbox, {self.refused:,} refused: {verdict}"
        return f"{found}, p99 {self.late:.0f} ms after it was logged"


def read(outbox: Path, workers: int, answered: int) -> Ledger:
    """As every worker tells with a heartbeat that is yet to come."""
    now = time.time()
    with closing(Outbox(OutboxOptions(outbox))) as opened:
        told = eventually(lambda: beats if len(beats := opened.workers(time.time() - now)) == workers else [])
        stored = sum(group.count for group in opened.groups(resolved=None, limit=1_000, samples=0))
    figures = [worker.figures for worker in told]
    return Ledger(
        answered,
        stored,
        sum(sum(worker["refused"].values()) for worker in figures),
        sum(map(_unwritten, figures)),
        max((worker["to_file"] or {}).get("p99_ms", 0.0) for worker in figures),
    )


def _unwritten(figures: Mapping[str, Any]) -> int:
    # The reports of refused records are written without having been queued.
    return max(0, int(figures["accepted"]) - int(figures["written"]))
