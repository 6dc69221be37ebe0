"""Listener -> a thread for each handler of the program -> any standard handler. A slow one delays no other sink."""

from __future__ import annotations

import copy
import logging
import time
from queue import Empty, SimpleQueue
from typing import Any

from ..own_log import LOGGER_NAME, report, shown
from ..statistics import Counter
from .listener import Listener

BACKLOG = 1_000
"""Records that may wait for one extra sink. Beyond it records are dropped for this sink."""
HANGING = 30.0
"""Seconds one record may stay in an extra sink before further records are dropped for it."""

_EXTRA = "handler "


def wants_frames(handler: logging.Handler) -> bool:
    """Whether the handler needs the exception itself, with its frames. One that does not says `frames = False`."""
    return bool(getattr(handler, "frames", True))


class ExtraSink(logging.Handler):
    """Hands records to any standard handler, on a thread of its own. A handler that hangs delays no other sink.

    A handler that raises has lost the record: that counts, and stderr reports the first one in a row.
    """

    def __init__(self, handler: logging.Handler, *, backlog: int = BACKLOG, hanging: float = HANGING) -> None:
        """The handler's level and filters apply, also when they change later. `backlog` is in records."""
        super().__init__()
        self.sink = handler
        self._backlog = backlog
        self._hanging = hanging
        self._records: SimpleQueue[Any] = SimpleQueue()
        self._dropped = Counter()
        self._behind = False
        self._handling_since = 0.0
        self.left_behind = False
        """Whether a stop did not wait for the handler, which may still be busy with a record."""
        self._listener = Listener(self._records, (_Timed(self, handler),), name=f"{_EXTRA}{shown(handler)}")

    @property
    def dropped(self) -> int:
        """Records that the handler did not take, because it was slow, hung or raised."""
        return self._dropped.value()

    def start(self) -> None:
        """Start the thread."""
        self._listener.start()

    def drain(self, timeout: float) -> bool:
        """As Listener.drain."""
        return self._listener.drain(timeout)

    def stop(self, timeout: float) -> bool:
        """As Listener.stop. Stderr reports a handler that has not taken all records, which are counted as dropped."""
        ended = self._listener.stop(timeout)
        if not ended:
            self.left_behind = True
            left = self._discard()
            # The last mark is gone with the records: without another one, the thread would never end.
            self._listener.stop(0)
            lost = f", with {left} records that wait for it" if left else ""
            report(f"the sink {shown(self.sink)} did not return in time and was left behind{lost}")
            # Its thread holds the lock of the handler, for which logging would wait at the end of the program.
            self.sink.createLock()
        return ended

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue the record, unless one of these handlers has logged it: two that log would never end."""
        if record.levelno < self.sink.level or _is_by_extra_sink(record):
            return False
        hangs = self._handling_since and time.monotonic() - self._handling_since > self._hanging
        if hangs or self._records.qsize() >= self._backlog:
            self._dropped.add()
            if not self._behind:
                self._behind = True
                why = f"has not returned for {self._hanging:.0f} s" if hangs else "is too slow"
                report(f"the sink {shown(self.sink)} {why}: records are dropped for it until it catches up")
            return False
        self._behind = False
        # A copy, because a handler may change the record, which the outbox and other handlers read later.
        self._records.put(copy.copy(record))
        return True

    def _discard(self) -> int:
        """Count the records that wait as dropped, and return their number."""
        left = 0
        while True:
            try:
                item = self._records.get_nowait()
            except Empty:
                return left
            if isinstance(item, logging.LogRecord):
                self._dropped.add()
                left += 1


class _Timed(logging.Handler):
    """Notes when the handler began, so that the sink sees that it hangs, and counts what it has lost."""

    def __init__(self, sink: ExtraSink, handler: logging.Handler) -> None:
        super().__init__()
        self._sink = sink
        self._handler = handler

    def __repr__(self) -> str:
        return shown(self._handler)

    def handle(self, record: logging.LogRecord) -> bool:
        self._sink._handling_since = time.monotonic()  # noqa: SLF001  one object in two halves
        try:
            return bool(self._handler.handle(record))
        except BaseException:
            if self._sink.left_behind:
                # The stop has reported it. Besides, releasing a lock that was replaced meanwhile raises.
                return False
            self._sink._dropped.add()  # noqa: SLF001  the same
            raise
        finally:
            self._sink._handling_since = 0.0  # noqa: SLF001  the same


def _is_by_extra_sink(record: logging.LogRecord) -> bool:
    # By the thread's name, because a later thread may have the same ident.
    return type(name := record.threadName) is str and name.startswith(f"{LOGGER_NAME}-{_EXTRA}")
