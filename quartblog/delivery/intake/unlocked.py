"""Record -> filters -> emit, from many threads at once."""

from __future__ import annotations

import logging


class Unlocked(logging.Handler):
    """A handler without logging's lock: who waits, for room or for a disk, must hold up nobody else.

    What `emit` changes it guards itself.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class, but for the lock."""
        if self.filters:
            verdict: object = self.filter(record)
            if not verdict:
                return False
            if isinstance(verdict, logging.LogRecord):
                record = verdict
        self.emit(record)
        return True
