"""ERROR records -> batches -> the outbox: a storm of equal errors is one transaction every 50 ms."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .batches import Batch
from .mailer import MAILER_THREAD
from .outbox_options import SAMPLES
from .queue import LOGGER_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from .outbox import Outbox


ROOM = 10_000
"""Errors that wait for a disk that hangs; more pass it by."""


class OutboxSink(logging.Handler):
    """Collects what is to be mailed: ERROR and above, except for the delivery's own records."""

    def __init__(self, outbox: Outbox, samples: int = SAMPLES, hangs: Callable[[], bool] = lambda: False) -> None:
        """`samples` are kept whole of one group in a batch; `hangs` tells whether a flush does not return."""
        super().__init__(logging.ERROR)
        self.grouped = 0
        """Errors that are in the outbox."""
        self.passed_by = 0
        """Errors there was no room for while the disk hung."""
        self._outbox = outbox
        self._samples = samples
        self.hangs = hangs
        """Whether a flush does not return; whoever flushes knows."""
        self._batch = Batch(samples)
        self.addFilter(is_foreign)

    def emit(self, record: logging.LogRecord) -> None:
        """Count the record; it is stored with the next flush."""
        if len(self._batch) >= ROOM and self.hangs():
            self.passed_by += 1
            return
        self._batch.add(record)

    def flush(self) -> None:
        """Store what was collected; from any thread, for logging flushes all handlers at exit."""
        if self.hangs():
            return
        # logging created the lock and holds it around emit.
        with self.lock:  # type: ignore[union-attr]
            if not len(self._batch):
                return
            batch, self._batch = self._batch, Batch(self._samples)
            outbox = self._outbox
        outbox.record(batch)
        self.grouped += len(batch)

    def change(self, outbox: Outbox, samples: int) -> None:
        """Store in another outbox from the next flush on; what was collected goes to the one before."""
        self.flush()
        with self.lock:  # type: ignore[union-attr]  # the same
            self._outbox, self._samples = outbox, samples

    def abandon(self) -> None:
        """After a fork, in the child: what was collected is the parent's to store."""
        self._batch = Batch(self._samples)


def is_foreign(record: logging.LogRecord) -> bool:
    """False for the delivery's own records: a failed mail must not become a mail."""
    own_logger = record.name == LOGGER_NAME or record.name.startswith(f"{LOGGER_NAME}.")
    return not own_logger and record.threadName != MAILER_THREAD
