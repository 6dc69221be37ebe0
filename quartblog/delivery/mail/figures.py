"""What the mailer of one process has done, for its heartbeat."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

LATENCIES = 1_000
"""Latest mails whose way is remembered."""


@dataclass(slots=True)
class Figures:
    """Counted since the start of this process."""

    mailed: int = 0
    """Mails the server took for at least one recipient."""
    retried: int = 0
    """Tries of a mail that had failed before."""
    dead: int = 0
    """Mails that were given up."""
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    """Seconds from the outbox to the server, of the latest mails."""

    def counts(self) -> dict[str, int]:
        """The counters by name."""
        return {"mailed": self.mailed, "retried": self.retried, "dead": self.dead}
