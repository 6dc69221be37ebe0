"""A sink this project did not write -> a thread of its own, so that it may hang."""

from __future__ import annotations

import logging
import time
from queue import SimpleQueue
from typing import Any

from ..own_log import report, shown
from ..statistics import Counter
from .listener import Listener

WAITING = 1_000
"""Records that wait for one slow sink; more pass it by."""
HANGING = 30.0
"""Seconds one record may stay in a sink before the sink is bypassed until it returns."""


class ExtraSink(logging.Handler):
    """Hands records to one sink on a thread of its own; a hanging sink delays nobody else."""

    def __init__(self, sink: logging.Handler, *, waiting: int = WAITING) -> None:
        """The sink's own level and filters still apply, also when they change later."""
        super().__init__()
        self.sink = sink
        self._limit = waiting
        self._records: SimpleQueue[Any] = SimpleQueue()
        self._passed_by = Counter()
        self._behind = False
        self._since = 0.0
        self._listener = Listener(self._records, (_Timed(self, sink),), name=shown(sink))

    @property
    def passed_by(self) -> int:
        """Records that did not reach the sink, because it was slow or hung."""
        return self._passed_by.value()

    def start(self) -> None:
        """Start the lane's thread."""
        self._listener.start()

    def drain(self, timeout: float) -> bool:
        """As Listener.drain."""
        return self._listener.drain(timeout)

    def stop(self, timeout: float) -> bool:
        """As Listener.stop; a sink that still hangs is left behind and said so."""
        ended = self._listener.stop(timeout)
        if not ended:
            report(f"the sink {shown(self.sink)} did not return in time and was left behind")
        return ended

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue the record, unless it was logged by this very sink, which would never end."""
        if record.levelno < self.sink.level or record.thread == self._listener.ident:
            return False
        hangs = self._since and time.monotonic() - self._since > HANGING
        if hangs or self._records.qsize() >= self._limit:
            self._passed_by.add()
            if not self._behind:
                self._behind = True
                why = f"has not returned for {HANGING:.0f} s" if hangs else "is too slow"
                report(f"the sink {shown(self.sink)} {why}: records pass it by until it catches up")
            return False
        self._behind = False
        self._records.put(record)
        return True


class _Timed(logging.Handler):
    """Notes when the sink began, so that the lane can tell a hanging sink from an idle one."""

    def __init__(self, lane: ExtraSink, sink: logging.Handler) -> None:
        super().__init__()
        self._lane = lane
        self._sink = sink

    def __repr__(self) -> str:
        return shown(self._sink)

    def handle(self, record: logging.LogRecord) -> bool:
        self._lane._since = time.monotonic()  # noqa: SLF001  one object in two halves
        try:
            return bool(self._sink.handle(record))
        finally:
            self._lane._since = 0.0  # noqa: SLF001  the same
