"""LogRecord -> one line of text with its traceback, or one JSON object a line."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from .escaping import block, json_safe, one_line
from .exc_info import snapshot_of
from .exceptions import ExceptionSnapshot, type_name
from .freezing import EXTRA, frozen_extra

if TYPE_CHECKING:
    from .exceptions import ExcInfo

LINE = "%(asctime)s %(levelname)s: %(message)s [in %(pathname)s:%(lineno)d]"

# An exception's message may hold line feeds. No line after one may look like the beginning of a record.
_FORGED = re.compile(r"\n(?=2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d)")


def zone(*, utc: bool) -> str:
    """Return the zone of the times in text lines, as of now: daylight saving changes it."""
    if utc:
        return "UTC"
    now = time.localtime()
    offset = time.strftime("%z", now)
    return f"local, UTC{offset[:3]}:{offset[3:5]} ({now.tm_zone})"


def exception_text(record: logging.LogRecord) -> str:
    """Return the record's traceback as the standard Formatter writes it, "" for a record without one."""
    if record.exc_text:
        return record.exc_text
    failure = snapshot_of(record)
    return failure.text if failure is not None else ""


class TextFormatter(logging.Formatter):
    """`time LEVEL: message [in path:line] [id 0123456789ab]`, then the traceback.

    Control characters of message and path are escaped, so that both are one line. Those of the traceback are escaped
    too, except its line feeds and tabs. Otherwise the traceback is byte-identical to the standard Formatter's.
    """

    def __init__(self, *, utc: bool = False) -> None:
        """Write times in UTC, or local ones. The line is a contract, so there is no format string."""
        super().__init__(LINE)
        self._clock = time.gmtime if utc else time.localtime
        self._latest_second: tuple[int, str] = (-1, "")
        self._latest_block: tuple[str, str] = ("", "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the finished text. Unlike the standard Formatter, change nothing on the record."""
        line = (
            f"{self.formatTime(record)} {record.levelname}: {record.getMessage()}"
            f" [in {record.pathname}:{record.lineno}]"
        )
        if error_id := getattr(record, "error_id", None):
            line += f" [id {error_id}]"
        blocks = [self._escaped(raw) for raw in (exception_text(record), record.stack_info) if raw]
        return "\n".join([one_line(line), *blocks])

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  the name is logging's
        """Return the time as the standard Formatter does; the text of a second is made once for all its records."""
        second = int(record.created)
        known, text = self._latest_second
        if second != known:
            text = time.strftime("%Y-%m-%d %H:%M:%S", self._clock(second))
            self._latest_second = second, text
        return f"{text},{int(record.msecs):03d}"

    def _escaped(self, text: str) -> str:
        """Return the traceback, escaped. The latest is cached, because in a storm most equal it."""
        known, shown = self._latest_block
        if text != known:
            shown = _FORGED.sub("\n  ", block(text))
            self._latest_block = text, shown
        return shown

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802  the name is logging's
        """Return the traceback, byte-identical to the standard Formatter's."""
        return ExceptionSnapshot(ei).text


class JsonFormatter(logging.Formatter):
    """One JSON object a line. The fields, always in this order:

    `time` (ISO 8601 in UTC with milliseconds), `level`, `logger`, `message`, `path`, `line`, `function`, `process`
    (id), `thread` (name), `error_id`, `method`, `route`, `user_id`, `exception` (null or an object of `type`,
    `message` and `traceback`, the standard text), `stack_info`, `taskName` (Python 3.12 and later), and `extra` (null
    or an object with the caller's own values by name, see `freezing.frozen_extra`). A field that a record does not
    have is null. New fields come at the end, and none changes its meaning.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the finished line."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        attributes = record.__dict__
        extra = attributes.get(EXTRA)
        if type(extra) is not dict:  # A record that did not come through the queue.
            extra = frozen_extra(attributes)
        fields: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "path": record.pathname,
            "line": record.lineno,
            "function": record.funcName,
            "process": record.process,
            "thread": record.threadName,
            "error_id": attributes.get("error_id"),
            "method": attributes.get("method"),
            "route": attributes.get("route"),
            "user_id": attributes.get("user_id"),
            "exception": self._exception(record),
            "stack_info": record.stack_info,
            "taskName": attributes.get("taskName"),
            "extra": extra or None,
        }
        return json_safe(json.dumps(fields, ensure_ascii=False, default=repr))

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802  the name is logging's
        """Return the traceback, byte-identical to the standard Formatter's."""
        return ExceptionSnapshot(ei).text

    @staticmethod
    def _exception(record: logging.LogRecord) -> dict[str, str | None] | None:
        text = exception_text(record)
        if not text:
            return None
        failure = snapshot_of(record)
        return {
            "type": type_name(failure.kind) if failure else None,
            "message": failure.message if failure else None,
            "traceback": text,
        }
