"""What the delivery knows of itself: counters and latencies, taken a thousand times a second and read once."""

import itertools
import threading
from collections import deque
from collections.abc import Iterable, Sequence

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
