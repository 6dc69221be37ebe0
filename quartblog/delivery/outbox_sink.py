"""ERROR records -> batches -> the outbox: a storm of equal errors is one transaction every 50 ms."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .batches import Batch
from .mailer import MAILER_THREAD
from .outbox_options import SAMPLES
from .queue import LOGGER_NAME

if TYPE_CHECKING:
    from .outbox import Outbox


class OutboxSink(logging.Handler):
    """Collects what is to be mailed: ERROR and above, except for the delivery's own records."""

    def __init__(self, outbox: Outbox, samples: int = SAMPLES) -> None:
        """`samples` is how many events of one group a batch keeps whole."""
        super().__init__(logging.ERROR)
        self._outbox = outbox
        self._samples = samples
        self._batch = Batch(samples)
        self.addFilter(is_foreign)

    def emit(self, record: logging.LogRecord) -> None:
        """Count the record; it is stored with the next flush."""
        self._batch.add(record)

    def flush(self) -> None:
        """Store what was collected; from any thread, for logging flushes all handlers at exit."""
        # logging created the lock and holds it around emit.
        with self.lock:  # type: ignore[union-attr]
            if not len(self._batch):
                return
            batch, self._batch = self._batch, Batch(self._samples)
        self._outbox.record(batch)


def is_foreign(record: logging.LogRecord) -> bool:
    """False for the delivery's own records: a failed mail must not become a mail."""
    own_logger = record.name == LOGGER_NAME or record.name.startswith(f"{LOGGER_NAME}.")
    return not own_logger and record.threadName != MAILER_THREAD
