"""Record -> filters -> emit, from many threads at once."""

from __future__ import annotations

import logging

from ..foreign import let_through
from ..stderr import describe, report


class Unlocked(logging.Handler):
    """A handler without logging's lock: who waits, for room or for a disk, must hold up nobody else.

    What `emit` changes it guards itself.
    """

    _filter_failed = False

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class, but for the lock, and for a filter that raises: it is passed over."""
        if self.filters:
            verdict = self._verdict(record)
            if not verdict:
                return False
            if isinstance(verdict, logging.LogRecord):
                record = verdict
        self.emit(record)
        return True

    def _verdict(self, record: logging.LogRecord) -> object:
        try:
            verdict: object = self.filter(record)
        except BaseException as error:  # noqa: BLE001  a filter is anybody's
            let_through(error)
            if not self._filter_failed:
                self._filter_failed = True
                report(f"a filter of the log failed, its records pass: {describe(error)}")
            return True
        self._filter_failed = False
        return verdict
