"""Plan -> failing requests in an event loop at an even rate; each logs an INFO record and then its exception."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections import Counter
from typing import TYPE_CHECKING

from quartblog.delivery import scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quartblog.rehearsal.report import Plan

    Sleep = Callable[[float], Awaitable[None]]

TICK = 0.01
"""Seconds between two bursts."""
FRAMES = 30
"""Frames of each traceback."""

_KIND = re.compile(r"rehearsed failure (\d+)")

logger = logging.getLogger("rehearsal")


class Storm:
    """Logs the planned failures, and measures the cost of each logging call."""

    def __init__(
        self, plan: Plan, *, clock: Callable[[], float] = time.perf_counter, sleep: Sleep = asyncio.sleep
    ) -> None:
        """`clock` returns seconds; `sleep` waits for seconds."""
        self.offered: Counter[str] = Counter()
        """Logged records by level name."""
        self.costs: list[float] = []
        """Seconds of each call that logged an exception."""
        self.first_seen: dict[int, float] = {}
        """Kind -> epoch seconds of its first failure."""
        self.lasted = 0.0
        """Seconds from the first failure to the last."""
        self._plan = plan
        self._clock, self._sleep = clock, sleep
        self._kinds = [type(f"Rehearsed{number}", (RuntimeError,), {}) for number in range(plan.distinct)]

    async def rage(self, after_burst: Callable[[float], None]) -> None:
        """Fail at the planned rate for the planned time; skip failures for which this machine is too slow.

        The last burst comes at the end of the planned time, even if the machine paused before. After each burst call
        `after_burst` with the seconds since the start.
        """
        begun = self._clock()
        failed, now = 0, 0.0
        while now < self._plan.seconds:
            now = min(self._clock() - begun, self._plan.seconds)
            due = min(int(now * self._plan.rate) + 1, math.ceil(self._plan.seconds * self._plan.rate))
            # Bounded, so that the event loop still runs if the rate exceeds this machine's speed.
            for _ in range(min(due - failed, int(self._plan.rate * TICK * 2) + 1)):
                self._fail(failed % self._plan.distinct)
                failed += 1
                self.lasted = self._clock() - begun
            after_burst(self._clock() - begun)
            await self._sleep(TICK)

    def _fail(self, kind: int) -> None:
        with scope(method="GET", route="/rehearsal"):
            self._log_failure(kind)

    def _log_failure(self, kind: int) -> None:
        self._offer(logging.INFO)
        logger.info("Looking for what rehearsed failure %d is about", kind)
        try:
            _descend(self._kinds[kind], kind, FRAMES - 1)
        except RuntimeError:
            self._offer(logging.ERROR)
            self.first_seen.setdefault(kind, time.time())
            begun = time.perf_counter()
            logger.exception("Exception on request GET /rehearsal")
            self.costs.append(time.perf_counter() - begun)

    def _offer(self, level: int) -> None:
        if logger.isEnabledFor(level):
            self.offered[logging.getLevelName(level)] += 1


def kinds_in(text: str) -> set[int]:
    """Return the kinds of failure that a mail reports."""
    return {int(number) for number in _KIND.findall(text)}


def _descend(kind: type[Exception], number: int, frames: int) -> None:
    """Raise below `frames` frames, an odd number. Two functions alternate, because tracebacks fold repeated frames."""
    if frames <= 1:
        raise kind(f"rehearsed failure {number}")
    _descend_further(kind, number, frames - 1)


def _descend_further(kind: type[Exception], number: int, frames: int) -> None:
    _descend(kind, number, frames - 1)
