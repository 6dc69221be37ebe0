"""Listener -> a thread per sink -> log file and outbox. A hanging one delays the other 5 s at most."""

from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ..grouping.event import Batch
from ..options import SAMPLES
from ..own_log import LOGGER_NAME, MAILER_THREAD, describe, report
from ..statistics import HourOfLatency
from .handler import Unlocked
from .log_file import RotatingFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..options import FileOptions
    from ..store.outbox import Outbox

HANGING = 5.0
"""Seconds one flush may take before its sink counts as hanging."""
FILE_BACKLOG = 1024 * 1024
"""Characters that may wait for the log file. Beyond it the listener waits, unless the disk hangs."""
STORE_BACKLOG = 1_000
"""Groups that may wait for the outbox. Beyond it the listener waits, unless the disk hangs."""

_LAST = threading.Event()


class Flusher:
    """A thread that calls `flush` whenever it is woken, once for all calls of `wake` that came meanwhile."""

    def __init__(
        self,
        flush: Callable[[], None],
        name: str,
        close: Callable[[], None] = lambda: None,
        *,
        hanging: float = HANGING,
    ) -> None:
        """`name` is what it writes, such as "the log file", for reports. The thread calls `close` at its end."""
        self._flush = flush
        self._close = close
        self._name = name
        self._hanging = hanging
        self._done = threading.Event()
        self._orders: SimpleQueue[threading.Event | None] = SimpleQueue()
        self._woken = False
        self._working_since: float | None = None
        self._failing = False
        self._hung = False
        self.left_behind = False
        """Whether a stop did not wait for the thread, which may still write."""
        self._thread = threading.Thread(target=self._run, name=f"{LOGGER_NAME}-{name}", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def hangs(self) -> bool:
        """Whether a flush takes so long that no thread should wait for it. Stderr reports when that begins."""
        since = self._working_since
        hangs = since is not None and time.monotonic() - since > self._hanging
        if hangs and not self._hung:
            self._hung = True
            report(f"writing {self._name} has not returned for {self._hanging:g} s, its backlog fills up")
        return hangs

    def start(self) -> None:
        """Start the thread. A flusher starts once."""
        self._thread.start()

    def wake(self) -> None:
        """Ask for a flush, and return at once."""
        if not self._woken:
            self._woken = True
            self._orders.put(None)

    def make_room(self, enough: Callable[[], bool]) -> bool:
        """Flush until there is enough room. False when the thread hangs."""
        if not self.alive:
            self._flush()
            return enough()
        while not enough():
            if self.hangs or not self.alive:
                return False
            self._done.clear()
            self.wake()
            # Bounded, because the disk may begin to hang during this wait.
            self._done.wait(0.25)
        return True

    def drain(self, timeout: float) -> bool:
        """Wait until everything collected before this call is written. False after `timeout` seconds."""
        if not self.alive:
            return True
        done = threading.Event()
        self._orders.put(done)
        return done.wait(timeout)

    def stop(self, timeout: float) -> bool:
        """Write the backlog and end the thread. False, with a report on stderr, after `timeout` seconds."""
        if not self.alive:
            return True
        self._orders.put(_LAST)
        self._thread.join(timeout)
        self.left_behind = self.alive
        if self.left_behind:
            report(f"writing {self._name} did not return in time and was left behind")
        return not self.alive

    def _run(self) -> None:
        stopping = False
        while not stopping:
            orders = [self._orders.get()]
            while not self._orders.empty():
                orders.append(self._orders.get())
            self._woken = False
            self._do(self._flush)
            for order in orders:
                if order is _LAST:
                    stopping = True
                elif order is not None:
                    order.set()
        self._do(self._close)

    def _do(self, work: Callable[[], None]) -> None:
        self._working_since = time.monotonic()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  also SystemExit would end the thread
            if not self._failing:
                self._failing = True
                report(f"writing {self._name} failed, it is tried again: {describe(error)}")
        else:
            self._failing = False
        self._working_since = None
        self._done.set()
        if self._hung:
            self._hung = False
            report(f"writing {self._name} goes on")


class FileSink(Unlocked):
    """Formats each record at once, which frees its frames, and writes many lines at a time on its flusher's thread."""

    def __init__(self, options: FileOptions, *, backlog: int = FILE_BACKLOG, hanging: float = HANGING) -> None:
        """`backlog` is in characters, `hanging` in seconds. The file is opened by the first flush."""
        super().__init__()
        self.file = RotatingFile(options)
        self.flusher = Flusher(self._flush, "the log file", close=self.file.close, hanging=hanging)
        self.written = 0
        """Records in the file."""
        # Two counts, because two threads count.
        self._skipped = 0
        self._failed = 0
        self.latency = HourOfLatency()
        """From the logging call to the file."""
        self._backlog = backlog
        self._texts: list[str] = []
        self._times: list[float] = []
        self._size = 0
        self._collecting = threading.Lock()
        self._writing = threading.Lock()

    @property
    def lost(self) -> int:
        """Records that are not in the file, because the disk was full, gone or hung."""
        return self._skipped + self._failed

    @property
    def healthy(self) -> bool:
        """Whether the last record reached the file."""
        return self.file.writable and not self.flusher.hangs

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record for the next flush, or count it as lost while the disk hangs."""
        text = self.file.line(record)
        if self._size > self._backlog and not self.flusher.make_room(lambda: self._size <= self._backlog):
            self._skipped += 1
            return
        with self._collecting:
            self._texts.append(text)
            self._times.append(record.created)
            self._size += len(text)

    def flush(self) -> None:
        """Write the backlog. Logging calls this for all handlers at exit, which must not wait for a disk that hangs."""
        if not self.flusher.left_behind:
            self._flush()

    def _flush(self) -> None:
        if self.flusher.hangs:
            return
        with self._writing:
            with self._collecting:
                texts, self._texts = self._texts, []
                times, self._times = self._times, []
                self._size = 0
            if texts:
                self._write(texts, times)
            elif not self.file.writable:
                self.file.try_again()

    def try_again(self) -> None:
        """Try again to write the file after a failure. Without new records it would stay unhealthy."""
        if not self.file.writable:
            self.flusher.wake()

    def abandon(self) -> None:
        """After a fork, in the child: the parent writes the backlog and keeps the file."""
        self._texts, self._times, self._size = [], [], 0
        self._collecting, self._writing = threading.Lock(), threading.Lock()
        self.file.abandon()

    def _write(self, texts: Sequence[str], times: Sequence[float]) -> None:
        written = 0
        try:
            written = self.file.write(texts)
        finally:
            self.written += written
            self._failed += len(texts) - written
            now = time.time()
            for created in times:
                self.latency.note(max(0.0, now - created))


class StoreSink(Unlocked):
    """Collects errors for the outbox: a storm of equal errors is one transaction every 40 ms.

    The delivery's own records are left out: a failed mail must not become a mail.
    """

    def __init__(
        self, outbox: Outbox, samples: int = SAMPLES, *, backlog: int = STORE_BACKLOG, hanging: float = HANGING
    ) -> None:
        """`samples` events of a group are kept in a batch; `backlog` is in groups, `hanging` in seconds."""
        super().__init__(logging.ERROR)
        self.flusher = Flusher(self._flush, "the outbox", hanging=hanging)
        self.samples = samples
        """Events kept of a group in each further batch."""
        self.grouped = 0
        """Errors in the outbox."""
        # Two counts, because two threads count.
        self._skipped = 0
        self._failed = 0
        self._outbox = outbox
        self._backlog = backlog
        self._collecting = threading.Lock()
        self._batch = Batch(samples)
        self.addFilter(is_foreign)

    @property
    def dropped(self) -> int:
        """Errors that could not be stored, or that exceeded the backlog while the disk hung."""
        return self._skipped + self._failed

    def emit(self, record: logging.LogRecord) -> None:
        """Count the record; the next flush stores it."""
        if self._batch.groups >= self._backlog and not self.flusher.make_room(
            lambda: self._batch.groups < self._backlog
        ):
            self._skipped += 1
            return
        with self._collecting:
            self._batch.add(record)

    def flush(self) -> None:
        """Store the batch. Logging calls this for all handlers at exit, which must not wait for a disk that hangs."""
        if not self.flusher.left_behind:
            self._flush()

    def _flush(self) -> None:
        if self.flusher.hangs:
            return
        with self._collecting:
            if not len(self._batch):
                return
            batch, self._batch = self._batch, Batch(self.samples)
        stored = 0
        try:
            stored = self._outbox.record(batch)
        finally:
            self.grouped += stored
            self._failed += len(batch) - stored

    def abandon(self) -> None:
        """After a fork, in the child: the parent stores the batch."""
        self._batch = Batch(self.samples)
        self._collecting = threading.Lock()


def is_foreign(record: logging.LogRecord) -> bool:
    """False for the delivery's own records."""
    own_logger = record.name == LOGGER_NAME or record.name.startswith(f"{LOGGER_NAME}.")
    return not own_logger and record.threadName != MAILER_THREAD
