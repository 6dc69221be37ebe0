"""What the mailer of one process has done, for its heartbeat."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SAMPLES = 1_024
"""Latencies kept for the percentiles: the newest ones."""


class Counter:
    """Counts without a lock, so a signal handler may count while its own thread is counting."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._steps = itertools.count()
        self._reads = itertools.count()
        self._reading = threading.Lock()

    def add(self) -> int:
        """Count one. Atomic: the step happens inside the interpreter. Returns a number that grows with each call."""
        return next(self._steps)

    def value(self) -> int:
        """The count. Reading takes a step as well, which the second counter takes off again."""
        with self._reading:
            return next(self._steps) - next(self._reads)


class Latency:
    """The newest durations of one kind; noting one is a single append, from any thread."""

    def __init__(self) -> None:
        """Nothing was measured yet."""
        self._seconds: deque[float] = deque(maxlen=SAMPLES)

    def note(self, seconds: float) -> None:
        """Take one duration in."""
        self._seconds.append(seconds)

    def percentiles(self) -> dict[str, float]:
        """As `percentiles`, of the newest ones."""
        # A copy, which is made in one step: other threads append meanwhile.
        return percentiles(self._seconds.copy())


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds; empty without any duration."""
    ordered = sorted(seconds)
    return {"median_ms": _at(ordered, 0.5), "p99_ms": _at(ordered, 0.99)} if ordered else {}


def _at(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 3)


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
