"""Counts and durations of every part -> one typed snapshot per process, for heartbeat and operators."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

SAMPLES = 1_024
"""Latencies kept for the percentiles, of each minute as well: the newest ones."""
MINUTES = 60
"""Minutes whose percentiles are kept."""


class Percentiles(NamedTuple):
    """Median and 99th percentile of some durations, in milliseconds."""

    median_ms: float
    p99_ms: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Self | None:
        """Return the percentiles of these durations in seconds, None if there are none."""
        ordered = sorted(seconds)
        return cls(_at(ordered, 0.5), _at(ordered, 0.99)) if ordered else None


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
        """Return the count. Reading is a step as well, which the second counter subtracts."""
        with self._reading:
            return next(self._steps) - next(self._reads)


class Latency:
    """The newest durations of one kind. Adding one is a single append, from any thread."""

    def __init__(self) -> None:
        """Begin without a duration."""
        self._seconds: deque[float] = deque(maxlen=SAMPLES)

    def note(self, seconds: float) -> None:
        """Add one duration."""
        self._seconds.append(seconds)

    def percentiles(self) -> Percentiles | None:
        """Return the percentiles of the newest durations, None before the first."""
        # A copy, which is made in one step: other threads append meanwhile.
        return Percentiles.of(self._seconds.copy())


class HourOfLatency(Latency):
    """Durations that one thread notes, with the percentiles of each of the last MINUTES minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds that no change of the wall clock moves."""
        super().__init__()
        self._clock = clock
        self._minute = self._now()
        self._current: deque[float] = deque(maxlen=SAMPLES)
        self._past: deque[tuple[int, Percentiles | None]] = deque(maxlen=MINUTES - 1)

    def note(self, seconds: float) -> None:
        """Add one duration."""
        super().note(seconds)
        if (minute := self._now()) != self._minute:
            self._past.append((self._minute, Percentiles.of(self._current)))
            self._minute, self._current = minute, deque(maxlen=SAMPLES)
        self._current.append(seconds)

    def minutes(self) -> tuple[Percentiles | None, ...]:
        """Return the percentiles of each minute, the present one last; None for a minute without a duration."""
        known = dict(self._past.copy())
        known[self._minute] = Percentiles.of(self._current.copy())
        now = self._now()
        return tuple(known.get(minute) for minute in range(now - MINUTES + 1, now + 1))

    def _now(self) -> int:
        return int(self._clock() // 60)


COUNTS = ("accepted", "written", "file_lost", "grouped", "dropped", "mailed", "retried", "dead")
"""Fields of Statistics that only grow from the start of a process to its end, as does `refused` of each level."""


@dataclass(slots=True)
class MailCounters:
    """Counted by the sender since the start of this process."""

    mailed: int = 0
    """Mails that the server took for at least one recipient."""
    retried: int = 0
    """Tries of a mail that had failed before."""
    dead: int = 0
    """Mails that became dead letters."""
    latency: HourOfLatency = field(default_factory=HourOfLatency)
    """From the outbox to the server."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """One process since the start of its delivery. Counts are of records, unless a field says otherwise."""

    depth: int = 0
    """Records that wait in the queue now."""
    limit: int = 0
    """Records that the queue holds."""
    high_water: int = 0
    """The most records that ever waited."""
    accepted: int = 0
    """Records that were queued."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Records that found the queue full, by the name of their level."""
    written: int = 0
    """Records in the log file."""
    file_lost: int = 0
    """Records that are not in the log file, because the disk was full, gone or hung."""
    grouped: int = 0
    """Errors in the outbox."""
    dropped: int = 0
    """Errors and records that a sink could not take, because it hung, was too slow or failed."""
    enqueue: Percentiles | None = None
    """Duration of the logging call, on the thread that logs."""
    to_file: Percentiles | None = None
    """From the logging call to the log file."""
    mailed: int = 0
    """Mails that the server took for at least one recipient."""
    retried: int = 0
    """Tries of a mail that had failed before."""
    dead: int = 0
    """Mails that became dead letters."""
    to_mail: Percentiles | None = None
    """From the outbox to the mail server."""
    to_file_minutes: Sequence[Percentiles | None] = ()
    """`to_file` of each of the last 60 minutes, the present one last; None for a minute without a record."""
    to_mail_minutes: Sequence[Percentiles | None] = ()
    """`to_mail` of each of the last 60 minutes, the present one last; None for a minute without a mail."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON: percentiles are objects, or null without a duration."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: Any) -> Any:
    match value:
        case Percentiles():
            return value._asdict()
        case tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return dict(value)
    return value


def _at(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 3)
