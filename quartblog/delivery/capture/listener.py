"""Bounded queue -> one thread -> every sink. A sink that fails does not affect the others."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ..own_log import LOGGER_NAME, describe, kind, report, shown
from ..text.freezing import instead_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PAUSE = 0.04
"""Seconds from a record to the call of `on_pause`. Records that come meanwhile wait in the queue."""


class _Mark:
    """Travels through the queue behind earlier records."""

    def __init__(self, *, last: bool = False) -> None:
        self.reached = threading.Event()
        self.last = last


class Listener:
    """One daemon thread that hands each record to every sink of its level.

    The thread and the other sinks go on when a sink raises; stderr reports the first failure of each sink until it
    succeeds again. `finalize` completes each record before the sinks get it. The thread calls `on_taken` after each
    record, and before a drain or stop returns; it may return one more record to write. The thread calls `on_pause`
    40 ms after the first record since the last call, and before a drain or stop returns, for work that is cheaper for
    many records at once. It must not raise. During these 40 ms the thread sleeps whenever the queue is empty, because
    waking it for every record of a storm would double the cost for the threads that log. Without `on_pause` it does
    not sleep.
    """

    def __init__(  # noqa: PLR0913  keywords only, each hooks into one moment
        self,
        records: SimpleQueue[Any],
        sinks: Iterable[logging.Handler],
        *,
        name: str = "listener",
        finalize: Callable[[logging.LogRecord], None] | None = None,
        on_taken: Callable[[], logging.LogRecord | None] | None = None,
        on_pause: Callable[[], None] | None = None,
        pause: float = PAUSE,
    ) -> None:
        """No other thread may read the queue. `pause`: seconds from a record to the call of `on_pause`."""
        self._pause = pause
        self._records = records
        self._sinks = tuple(sinks)
        self.finalize = finalize
        """May be replaced at any time."""
        self._on_taken = on_taken
        self._on_pause = on_pause
        self._failing: set[int] = set()
        # Held, except after hurry(). A bare lock, because a signal handler may call hurry().
        self._awake = threading.Lock()
        self._awake.acquire()
        self._stopping = False
        self._pause_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"{LOGGER_NAME}-{name}", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def ident(self) -> int | None:
        """The thread's identifier once it has started."""
        return self._thread.ident

    def start(self) -> None:
        """Start the thread; once in a listener's life."""
        self._thread.start()

    def hurry(self) -> None:
        """Read the queue now, because a drain waits or the queue fills up. Any thread or signal handler may call it."""
        with contextlib.suppress(RuntimeError):  # It hurries already.
            self._awake.release()

    def drain(self, timeout: float = 5.0) -> bool:
        """Wait until every earlier record has been through every sink.

        False after `timeout` seconds, or at once when a sink calls it.
        """
        if not self.alive:
            return self._records.empty()
        if threading.get_ident() == self.ident:
            return False
        mark = _Mark()
        self._records.put(mark)
        self.hurry()
        return mark.reached.wait(timeout)

    def stop(self, timeout: float = 5.0) -> bool:
        """Handle the queue, then end the thread. Any thread may call it, any number of times.

        False when a sink held the thread for longer than `timeout` seconds; the thread then ends by itself later.
        """
        if not self.alive:
            return True
        self._records.put(_Mark(last=True))
        self.hurry()
        if threading.get_ident() == self.ident:
            return False
        self._thread.join(timeout)
        return not self.alive

    def _run(self) -> None:
        while True:
            try:
                if self._turn():
                    return
            except BaseException as error:  # noqa: BLE001  memory may be short; the next turn may do better
                report(f"the thread {self._thread.name} goes on after {describe(error)}")

    def _turn(self) -> bool:
        """Handle the next item and call `on_pause` when it is due. Return whether that was the last turn."""
        item = self._next(stopping=self._stopping, until=self._pause_at)
        try:
            if self._take(item) and self._on_pause is not None:
                self._pause_at = self._pause_at or time.monotonic() + self._pause
            ends = item is None and self._stopping
            is_due = ends or isinstance(item, _Mark) or (self._pause_at or 0.0) <= time.monotonic()
            if self._pause_at is not None and is_due:
                self._pause_at = None
                if self._on_pause is not None:
                    self._on_pause()
        finally:
            if isinstance(item, _Mark):
                item.reached.set()
                # Records may still arrive behind the last mark; later turns handle them.
                self._stopping = self._stopping or item.last
        # The item ends with this call, so that a waiting thread keeps no traceback's frames alive.
        return ends

    def _next(self, *, stopping: bool, until: float | None) -> logging.LogRecord | _Mark | None:
        """Return the next item; None at the given time, or at once while stopping."""
        if until is not None and not stopping and self._records.empty():
            self._awake.acquire(timeout=max(0.0, until - time.monotonic()))
        try:
            item: logging.LogRecord | _Mark = self._records.get(block=until is None and not stopping)
        except Empty:
            return None
        return item

    def _take(self, item: logging.LogRecord | _Mark | None) -> bool:
        """Return whether the sinks got a record."""
        handled = isinstance(item, logging.LogRecord)
        if isinstance(item, logging.LogRecord):
            self._hand_on(item)
        # Also without a record: refusals may become known when the queue is already empty.
        refusals = self._on_taken() if self._on_taken is not None else None
        if refusals is not None:
            self._hand_on(refusals)
        return handled or refusals is not None

    def _hand_on(self, record: logging.LogRecord) -> None:
        if self.finalize is not None:
            try:
                self.finalize(record)
            except BaseException as error:  # noqa: BLE001  a record may misbehave in a hundred ways
                # Its class alone, because nothing has redacted the exception's message.
                record = instead_of(record, f"this record could not be completed: {kind(error)}")
        for sink in self._sinks:
            try:
                if record.levelno >= sink.level:
                    sink.handle(record)
            except BaseException as error:  # noqa: BLE001  also SystemExit would end the thread
                # By id, because a handler may have any __hash__ and __eq__.
                if id(sink) not in self._failing:
                    self._failing.add(id(sink))
                    report(f"the sink {shown(sink)} failed, the other sinks go on: {describe(error)}")
            else:
                self._failing.discard(id(sink))
