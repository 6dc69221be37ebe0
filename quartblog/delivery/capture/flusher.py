"""A sink that collects -> a thread that writes for it, so that a disk that hangs delays neither listener nor mail."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ..own_log import LOGGER_NAME, describe, report

if TYPE_CHECKING:
    from collections.abc import Callable

HANGING = 5.0
"""Seconds one flush may take before the sink counts as hanging."""

CHANGING = 2.0
"""Seconds a change of the configuration waits for what came before it; a disk that hangs must not hold it up."""

_LAST = threading.Event()


class Flusher:
    """Calls `flush` on a thread of its own whenever it is rung, once for however many rings came meanwhile."""

    def __init__(self, flush: Callable[[], None], name: str, close: Callable[[], None] = lambda: None) -> None:
        """`name` is what it writes, for the operator; `close` ends that, on the thread, whenever it returns."""
        self._flush = flush
        self._close = close
        self._name = name
        self._done = threading.Event()
        self._orders: SimpleQueue[threading.Event | None] = SimpleQueue()
        self._rung = False
        self._since: float | None = None
        self._failing = False
        self._hung = False
        self._thread = threading.Thread(target=self._run, name=f"{LOGGER_NAME}-{name}", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def hangs(self) -> bool:
        """Whether a flush has not returned for so long that nobody should wait for it; told once on stderr."""
        since = self._since
        hangs = since is not None and time.monotonic() - since > HANGING
        if hangs and not self._hung:
            self._hung = True
            report(f"writing {self._name} has not returned for {HANGING:g} s: what there is no room for passes it by")
        return hangs

    def start(self) -> None:
        """Start the thread; once in a flusher's life."""
        self._thread.start()

    def ring(self) -> None:
        """Ask for a flush; returns at once."""
        if not self._rung:
            self._rung = True
            self._orders.put(None)

    def make_room(self, enough: Callable[[], bool]) -> bool:
        """For whoever collects: flush until there is enough room; False when the thread hangs."""
        if not self.alive:
            self._flush()
            return enough()
        while not enough():
            if self.hangs or not self.alive:
                return False
            self._done.clear()
            self.ring()
            # Not for ever: it may begin to hang.
            self._done.wait(0.25)
        return True

    def drain(self, timeout: float) -> bool:
        """Wait until what was collected before this call is written; False when late."""
        if not self.alive:
            return True
        done = threading.Event()
        self._orders.put(done)
        return done.wait(timeout)

    def stop(self, timeout: float) -> bool:
        """Write what is collected and end the thread; False, and told on stderr, when that takes longer."""
        if not self.alive:
            return True
        self._orders.put(_LAST)
        self._thread.join(timeout)
        if self.alive:
            report(f"writing {self._name} did not return in time and was left behind")
        return not self.alive

    def _run(self) -> None:
        stopping = False
        while not stopping:
            orders = [self._orders.get()]
            while not self._orders.empty():
                orders.append(self._orders.get())
            self._rung = False
            self._do(self._flush)
            for order in orders:
                if order is _LAST:
                    stopping = True
                elif order is not None:
                    order.set()
        self._do(self._close)

    def _do(self, work: Callable[[], None]) -> None:
        self._since = time.monotonic()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  also SystemExit would end the thread
            if not self._failing:
                self._failing = True
                report(f"writing {self._name} failed, it is tried again: {describe(error)}")
        else:
            self._failing = False
        self._since = None
        self._done.set()
        if self._hung:
            self._hung = False
            report(f"writing {self._name} goes on")
