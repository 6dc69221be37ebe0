"""The listener's records -> lines that are ready -> the log file, many at a time, on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from ..statistics import Latency
from .flusher import Flusher

if TYPE_CHECKING:
    from .files import RotatingFile

ROOM = 1024 * 1024
"""Characters that wait for the disk at most: the listener waits as well then, unless the disk hangs."""
FORKING = 1.0
"""Seconds a fork waits for a write."""


class Journal(logging.Handler):
    """Formats at once, which frees the record and its frames, and writes with `flush`."""

    def __init__(self, file: RotatingFile) -> None:
        """Nothing is written before the flusher is started and rung, or `flush` is called."""
        super().__init__()
        self.file = file
        self.flusher = Flusher(self.flush, "the log file", close=self._close_file)
        self.written = 0
        """Records in the file."""
        self.passed_by = 0
        """Records there was no room for while the disk hung."""
        self.latency = Latency()
        """From the call that logged to the file."""
        self._texts: list[str] = []
        self._times: list[float] = []
        self._size = 0
        self._collecting = threading.Lock()
        self._writing = threading.Lock()
        self._held = False

    @property
    def lost(self) -> int:
        """Records that are not in the file: the disk was full, gone or hung."""
        return self.file.lost + self.passed_by

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class, without its lock: who waits for the disk must not hold up who writes."""
        accepted = bool(self.filter(record))
        if accepted:
            self.emit(record)
        return accepted

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record; it is written with the next flush."""
        text = self.file.line(record)
        if self._size > ROOM and not self.flusher.make_room(lambda: self._size <= ROOM):
            self.passed_by += 1
            return
        with self._collecting:
            self._texts.append(text)
            self._times.append(record.created)
            self._size += len(text)

    def flush(self) -> None:
        """Write what was collected; from any thread, for logging flushes all handlers at exit."""
        if self.flusher.hangs:
            return
        with self._writing:
            with self._collecting:
                texts, self._texts = self._texts, []
                times, self._times = self._times, []
                self._size = 0
            if not texts:
                return
            self.written += self.file.write(texts)
        now = time.time()
        for created in times:
            self.latency.note(max(0.0, now - created))

    def change(self, file: RotatingFile) -> None:
        """Write to another file from the next flush on; what was collected goes to the one before."""
        self.flush()
        with self._writing:
            self.file, before = file, self.file
        before.close()

    def before_fork(self) -> None:
        """Wait for the write that is under way, but not for a disk that hangs."""
        self._held = self._writing.acquire(timeout=FORKING)

    def after_fork(self) -> None:
        """In the parent: write again."""
        if self._held:
            self._held = False
            self._writing.release()

    def abandon(self) -> None:
        """In a forked child: what was collected is the parent's to write."""
        self._texts, self._times = [], []
        self._writing = threading.Lock()
        self._collecting = threading.Lock()

    def _close_file(self) -> None:
        self.file.close()
