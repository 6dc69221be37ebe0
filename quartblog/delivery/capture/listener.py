"""Bounded queue -> one thread -> every sink, each on its own risk."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ..own_log import LOGGER_NAME, describe, kind, report, shown
from .finalize import instead_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PAUSE = 0.04
"""Seconds after a record at which `on_pause` is called, and what came meanwhile is taken."""


class _Mark:
    """Travels through the queue behind what was accepted before it."""

    def __init__(self, *, last: bool = False) -> None:
        self.reached = threading.Event()
        self.last = last


class Listener:
    """One daemon thread that hands each record to each sink whose level it has.

    A sink that raises is reported on stderr once, until it succeeds again; the thread and the
    other sinks go on. `finalize` completes each record before any sink has it. `on_taken` is called
    after each record, and before a drain or stop returns, and may return one more to write.
    `on_pause` is called 40 ms after the first record since the last time, and before a drain or stop
    returns: the moment for what is better done for many records at once. It must not raise. Until
    then the thread naps whenever the queue is empty: waking for every record of a storm would cost
    the threads that log as much as the rest. Without `on_pause` there is no nap.
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
    ) -> None:
        """The queue is read by this listener alone."""
        self._records = records
        self._sinks = tuple(sinks)
        self.finalize = finalize
        """May be replaced at any time."""
        self._on_taken = on_taken
        self._on_pause = on_pause
        self._failing: set[int] = set()
        # Held while nobody hurries. A bare lock, for hurry() may be called from a signal handler.
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
        """Take what is queued now, for somebody waits or room is short; from any thread or signal handler."""
        with contextlib.suppress(RuntimeError):  # It was told already.
            self._awake.release()

    def drain(self, timeout: float = 5.0) -> bool:
        """Wait until what was queued before this call has been through every sink.

        False when that took longer than `timeout` seconds, or when a sink itself asks.
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
        """Handle what is queued, then end the thread; from any thread, any number of times.

        False when a sink held the thread for longer than `timeout` seconds: it is left behind.
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
        """Take what comes next, and do what is due; whether that was the last."""
        item = self._next(stopping=self._stopping, until=self._pause_at)
        try:
            if self._take(item) and self._on_pause is not None:
                self._pause_at = self._pause_at or time.monotonic() + PAUSE
            ends = item is None and self._stopping
            is_due = ends or isinstance(item, _Mark) or (self._pause_at or 0.0) <= time.monotonic()
            if self._pause_at is not None and is_due:
                self._pause_at = None
                if self._on_pause is not None:
                    self._on_pause()
        finally:
            if isinstance(item, _Mark):
                item.reached.set()
                # Records may still arrive behind the last mark: they are handled before the end.
                self._stopping = self._stopping or item.last
        # The item ends with this call: a thread that waits must not keep a traceback's frames alive.
        return ends

    def _next(self, *, stopping: bool, until: float | None) -> logging.LogRecord | _Mark | None:
        """What comes next; None at the given time, or at once where nothing more will come."""
        if until is not None and not stopping and self._records.empty():
            self._awake.acquire(timeout=max(0.0, until - time.monotonic()))
        try:
            item: logging.LogRecord | _Mark = self._records.get(block=until is None and not stopping)
        except Empty:
            return None
        return item

    def _take(self, item: logging.LogRecord | _Mark | None) -> bool:
        """Whether the sinks have got something."""
        given = isinstance(item, logging.LogRecord)
        if isinstance(item, logging.LogRecord):
            self._hand_on(item)
        # Also without a record: what was refused may be known only when the queue is empty already.
        more = self._on_taken() if self._on_taken is not None else None
        if more is not None:
            self._hand_on(more)
        return given or more is not None

    def _hand_on(self, record: logging.LogRecord) -> None:
        if self.finalize is not None:
            try:
                self.finalize(record)
            except BaseException as error:  # noqa: BLE001  a record may misbehave in a hundred ways
                # Of its class alone: what the exception says is not redacted.
                record = instead_of(record, f"this record could not be completed: {kind(error)}")
        for sink in self._sinks:
            try:
                if record.levelno >= sink.level:
                    sink.handle(record)
            except BaseException as error:  # noqa: BLE001  also SystemExit would end the thread
                # By its id: a handler may have any __hash__ and __eq__.
                if id(sink) not in self._failing:
                    self._failing.add(id(sink))
                    report(f"the sink {shown(sink)} failed, the others go on: {describe(error)}")
            else:
                self._failing.discard(id(sink))
