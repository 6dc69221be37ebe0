"""The listener's records -> lines that are ready -> the log file, many at a time, on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from ..statistics import Latency
from .finalize import own_record
from .flusher import CHANGING, Flusher
from .handler import Unlocked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .log_file import RotatingFile

ROOM = 1024 * 1024
"""Characters that wait for the disk at most: the listener waits as well then, unless the disk hangs."""
FORKING = 1.0
"""Seconds a fork waits for a write."""


class FileSink(Unlocked):
    """Formats at once, which frees the record and its frames, and writes with `flush`.

    Each file it is given has a page of its own; what is counted goes on over all of them.
    """

    def __init__(self, file: RotatingFile) -> None:
        """Nothing is written before the flusher is started and rung, or `flush` is called."""
        super().__init__()
        self.written = 0
        """Records in the files."""
        self.lost = 0
        """Records that are in no file: the disk was full, gone or hung."""
        self.latency = Latency()
        """From the call that logged to the file."""
        self._counting = threading.Lock()
        # Records go to the last one; those before it are left, and write what they have.
        self._pages: tuple[_Page, ...] = (_Page(file, self._count),)
        self._held: list[threading.Lock] = []

    @property
    def file(self) -> RotatingFile:
        """The file that the next record goes to."""
        return self._pages[-1].file

    @property
    def flusher(self) -> Flusher:
        """The thread that writes this file."""
        return self._pages[-1].flusher

    @property
    def flushers(self) -> tuple[Flusher, ...]:
        """That thread, and those of files that were left but still get what was collected."""
        *left, current = self._pages
        return (*(page.flusher for page in left if not page.flusher.hangs), current.flusher)

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record; it is written with the next flush."""
        # A page that is being left takes nothing; by then the next one is there.
        while not self._pages[-1].take(record):
            pass

    def flush(self) -> None:
        """Write what was collected; from any thread, for logging flushes all handlers at exit."""
        for page in self._pages:
            page.flush()

    def change(self, file: RotatingFile) -> None:
        """Write to another file from the next record on; what was collected goes to the one before.

        Where that takes long it goes on by itself, and stderr is told. Whoever follows the one before is told as well.
        """
        before, after = self._pages[-1], _Page(file, self._count)
        if before.flusher.alive:
            after.flusher.start()
        self._pages = (*self._pages, after)
        before.leave(file, CHANGING)
        self._pages = (*(page for page in self._pages[:-1] if page.flusher.alive), after)

    def before_fork(self) -> None:
        """Wait for the write that is under way, but not for a disk that hangs."""
        may_be_held = (page.writing for page in self._pages if not page.flusher.hangs)
        # Added: another thread may fork at the same time.
        self._held += [lock for lock in may_be_held if lock.acquire(timeout=FORKING)]

    def after_fork(self) -> None:
        """In the parent: write again."""
        while self._held:
            self._held.pop().release()

    def abandon(self) -> None:
        """In a forked child: what was collected is the parent's to write."""
        for page in self._pages:
            page.abandon()

    def _count(self, written: int, lost: int, times: Sequence[float] = ()) -> None:
        with self._counting:
            self.written += written
            self.lost += lost
        now = time.time()
        for created in times:
            self.latency.note(max(0.0, now - created))


class _Page:
    """One file, the lines that wait for it, and the thread that writes them."""

    def __init__(self, file: RotatingFile, count: Callable[[int, int, Sequence[float]], None]) -> None:
        self.file = file
        self.flusher = Flusher(self.flush, "the log file", close=file.close)
        self.writing = threading.Lock()
        self._count = count
        self._texts: list[str] = []
        self._times: list[float] = []
        self._size = 0
        self._collecting = threading.Lock()
        self._left = False

    def take(self, record: logging.LogRecord) -> bool:
        """Collect the record's line, or count it as lost where the disk hangs; False when another page has to."""
        text = self.file.line(record)
        has_room = self._size <= ROOM or self.flusher.make_room(lambda: self._left or self._size <= ROOM)
        with self._collecting:
            if self._left:
                return False
            if has_room:
                self._texts.append(text)
                self._times.append(record.created)
                self._size += len(text)
        if not has_room:
            self._count(0, 1, ())
        return True

    def flush(self) -> None:
        """Write what was collected."""
        if self.flusher.hangs:
            return
        with self.writing:
            with self._collecting:
                texts, self._texts = self._texts, []
                times, self._times = self._times, []
                self._size = 0
            if not texts:
                if not self.file.writable:
                    self.file.try_again()
                return
            written = 0
            try:
                written = self.file.write(texts)
            finally:
                self._count(written, len(texts) - written, times)

    def leave(self, successor: RotatingFile, timeout: float) -> None:
        """Take nothing more, write what there is and close the file: within the time, or whenever the disk allows."""
        with self._collecting:
            self._left = True
            if (place := successor.baseFilename) != self.file.baseFilename:
                self._texts.append(self.file.line(own_record(logging.INFO, f"The log goes on in {place}")))
                self._times.append(time.time())
        if self.flusher.alive:
            self.flusher.stop(timeout)
        else:
            self.flush()
            self.file.close()

    def abandon(self) -> None:
        self._texts, self._times = [], []
        self.writing = threading.Lock()
        self._collecting = threading.Lock()
