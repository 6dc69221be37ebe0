"""ERROR records -> batches -> the outbox: a storm of equal errors is one transaction every 40 ms."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ..grouping.event import Batch
from ..options import SAMPLES
from ..own_log import LOGGER_NAME, MAILER_THREAD
from .flusher import CHANGING, Flusher
from .handler import Unlocked

if TYPE_CHECKING:
    from ..store.outbox import Outbox

ROOM = 1_000
"""Groups that wait for the disk at most: the listener waits as well then, unless the disk hangs."""


class StoreSink(Unlocked):
    """Collects what is to be mailed: ERROR and above, except for the delivery's own records."""

    def __init__(self, outbox: Outbox, samples: int = SAMPLES) -> None:
        """`samples` of one group are kept in a batch. Nothing is stored before the flusher is started and rung."""
        super().__init__(logging.ERROR)
        self.flusher = Flusher(self.flush, "the outbox")
        self.grouped = 0
        """Errors that are in the outbox."""
        self.passed_by = 0
        """Errors that could not be stored, and those there was no room for while the disk hung."""
        self._outbox = outbox
        self._samples = samples
        self._collecting = threading.Lock()
        self._batch = Batch(samples)
        self.addFilter(is_foreign)

    def emit(self, record: logging.LogRecord) -> None:
        """Count the record; it is stored with the next flush."""
        if self._batch.groups >= ROOM and not self.flusher.make_room(lambda: self._batch.groups < ROOM):
            self.passed_by += 1
            return
        with self._collecting:
            self._batch.add(record)

    def flush(self) -> None:
        """Store what was collected; from any thread, for logging flushes all handlers at exit."""
        if self.flusher.hangs:
            return
        with self._collecting:
            if not len(self._batch):
                return
            batch, self._batch = self._batch, Batch(self._samples)
            outbox = self._outbox
        stored = 0
        try:
            stored = outbox.record(batch)
        finally:
            self.grouped += stored
            self.passed_by += len(batch) - stored

    def change(self, outbox: Outbox, samples: int) -> None:
        """Store in another outbox from the next flush on, which also gets what was collected."""
        with self._collecting:
            self._outbox, self._samples = outbox, samples
        # A flush that is under way belongs to the one before, which is closed next.
        self.flusher.drain(CHANGING)

    def abandon(self) -> None:
        """After a fork, in the child: what was collected is the parent's to store."""
        self._batch = Batch(self._samples)
        self._collecting = threading.Lock()


def is_foreign(record: logging.LogRecord) -> bool:
    """False for the delivery's own records: a failed mail must not become a mail."""
    own_logger = record.name == LOGGER_NAME or record.name.startswith(f"{LOGGER_NAME}.")
    return not own_logger and record.threadName != MAILER_THREAD
