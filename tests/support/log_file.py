"""App -> the content of its log file, once the delivery has written all records so far."""

import re
from pathlib import Path

from quart import Quart

from quartblog.delivery import Delivery
from quartblog.operations.health import DELIVERY

_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ([A-Z]+): .*$", re.MULTILINE)
# The levels that need an operator.
_FAILURES = {"ERROR", "CRITICAL"}


class LogFile:
    """The log file of one app."""

    def __init__(self, app: Quart, path: Path) -> None:
        self.delivery: Delivery = app.extensions[DELIVERY]
        self.path = path

    @property
    def text(self) -> str:
        """The whole file."""
        assert self.delivery.drain()
        return self.path.read_text("utf-8")

    @property
    def failures(self) -> list[str]:
        """The line of each record of level ERROR and above."""
        return [found[0] for found in _RECORD.finditer(self.text) if found[1] in _FAILURES]

    def failure(self) -> str:
        """Return the line of the only failure; fail if there are more or none."""
        (line,) = self.failures
        return line
