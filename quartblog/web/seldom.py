"""Line that a stranger can cause at will -> at most one record a minute, which counts the others.

The log file has a fixed size: without this bound, a few thousand refused requests would push every error out of it.
"""

import logging
import time
from collections.abc import Callable

# Seconds between two records.
PAUSE = 60.0


class Seldom:
    """Logs one kind of line."""

    def __init__(self, logger: logging.Logger, level: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`level`: of every record."""
        self._logger = logger
        self._level = level
        self._clock = clock
        self._next = 0.0
        self._left_out = 0

    def log(self, message: str, *arguments: object) -> None:
        """Log the line if the last record is a minute old, else count it."""
        now = self._clock()
        if now < self._next:
            self._left_out += 1
            return
        self._next = now + PAUSE
        more = f" ({self._left_out:,} more since the last such line)" if self._left_out else ""
        self._left_out = 0
        counting = message + "%s"
        self._logger.log(self._level, counting, *arguments, more)
