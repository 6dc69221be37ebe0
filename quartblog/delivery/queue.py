"""Thread that logs -> bounded queue: the message frozen, the context stamped, nothing formatted."""

from __future__ import annotations

import asyncio
import itertools
import logging
import logging.handlers
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from .escaping import shortened
from .ids import new_error_id
from .stderr import describe, report

if TYPE_CHECKING:
    from .options import QueueOptions

LOGGER_NAME = "quartblog.delivery"
MESSAGE_LIMIT = 65_536
"""Characters of one message that are kept: the queue is bounded in records, so a record must be too."""

_MARK = "_queued_by"

Context = Callable[[], Mapping[str, object]]


class Counter:
    """Counts without a lock, so a signal handler may count while its own thread is counting."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._steps = itertools.count()
        self._reads = itertools.count()
        self._reading = threading.Lock()

    def add(self) -> None:
        """Count one. Atomic: the step happens inside the interpreter."""
        next(self._steps)

    def value(self) -> int:
        """The count. Reading takes a step as well, which the second counter takes off again."""
        with self._reading:
            return next(self._steps) - next(self._reads)


class BoundedQueueHandler(logging.handlers.QueueHandler):
    """Puts records on a bounded queue as they are, in about 10 µs, from any thread or signal handler.

    The record that is queued is a copy whose message is final, so a later change of an argument
    changes nothing; `exc_info` is kept, so the reader can format, group and send it.
    """

    def __init__(self, options: QueueOptions, context: Context | None = None) -> None:
        """`context` gives attributes for the record, such as error_id, method, route and user_id."""
        # SimpleQueue, because Queue.put deadlocks under a signal handler that logs.
        self.records: SimpleQueue[Any] = SimpleQueue()
        super().__init__(self.records)
        self._limit = options.size
        self._ordinary_limit = max(1, int(options.size * (1 - options.reserve)))
        self._wait = options.block_ms / 1000 if options.overflow == "block" else 0.0
        self._context = context
        self._context_fails = False
        self._refused: dict[int, Counter] = {}
        self._reported: dict[int, int] = {}
        self._unreported = False
        self._waiting: deque[threading.Lock] = deque()
        self.reader: int | None = None
        """Identifier of the thread that empties the queue: it must never wait for room."""

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class, without its lock: who waits for room must not hold up an event loop."""
        verdict: object = self.filter(record)
        if not verdict:
            return False
        self.emit(verdict if isinstance(verdict, logging.LogRecord) else record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record once, however many loggers bring it here, or count its refusal."""
        if record.__dict__.get(_MARK) == id(self):
            return
        record.__dict__[_MARK] = id(self)
        try:
            if self._has_room(record.levelno):
                self.enqueue(self.prepare(record))
            else:
                self._refused.setdefault(record.levelno, Counter()).add()
                self._unreported = True
        except Exception:  # noqa: BLE001  logging must never raise into the code that logs
            self.handleError(record)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put the record on the queue; SimpleQueue never blocks here."""
        self.records.put(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """A copy with its message frozen and its context stamped; other handlers keep the original."""
        frozen: logging.LogRecord = object.__new__(type(record))
        attributes = frozen.__dict__
        attributes.update(record.__dict__)
        attributes["msg"] = attributes["message"] = _final_message(record)
        attributes["args"] = None
        if self._context is not None:
            for name, value in self._stamps().items():
                attributes.setdefault(name, value)
        if record.levelno >= logging.ERROR and not attributes.get("error_id"):
            attributes["error_id"] = new_error_id()
        return frozen

    def taken(self) -> logging.LogRecord | None:
        """For the reader, after each record: wake who waits, and return the report that is due."""
        self._wake_one()
        if self._unreported and self.records.qsize() <= self._ordinary_limit // 2:
            return self._refusal_report()
        return None

    def refused(self) -> dict[str, int]:
        """How many records were refused so far, by the name of their level."""
        return {logging.getLevelName(level): counter.value() for level, counter in sorted(self._refused.copy().items())}

    def _has_room(self, level: int) -> bool:
        limit = self._limit if level >= logging.ERROR else self._ordinary_limit
        if self.records.qsize() < limit:
            return True
        return self._wait > 0 and self._may_wait() and self._wait_for_room(limit)

    def _may_wait(self) -> bool:
        if threading.get_ident() == self.reader:
            return False
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return True
        return False

    def _wait_for_room(self, limit: int) -> bool:
        deadline = time.monotonic() + self._wait
        while True:
            # A lock of one's own instead of a shared condition: nothing here can be found held by
            # the very thread a signal handler has interrupted.
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
            left = deadline - time.monotonic()
            free = self.records.qsize() < limit
            woken = not free and left > 0 and gate.acquire(timeout=left)
            if not woken:
                self._leave(gate)
                return free or self.records.qsize() < limit

    def _leave(self, gate: threading.Lock) -> None:
        try:
            self._waiting.remove(gate)
        except ValueError:
            self._wake_one()  # Woken while leaving: the free place is for the next who waits.

    def _wake_one(self) -> None:
        try:
            self._waiting.popleft().release()
        except IndexError:
            return

    def _stamps(self) -> Mapping[str, object]:
        try:
            return self._context() if self._context is not None else {}
        except Exception as error:  # noqa: BLE001  a record without its context beats a lost record
            if not self._context_fails:
                self._context_fails = True
                report(f"records go without their request: {describe(error)}")
            return {}

    def _refusal_report(self) -> logging.LogRecord | None:
        self._unreported = False
        lost: dict[str, int] = {}
        for level, counter in sorted(self._refused.copy().items()):
            total = counter.value()
            if news := total - self._reported.get(level, 0):
                lost[logging.getLevelName(level)] = news
            self._reported[level] = total
        if not lost:
            return None
        text = (
            f"The log queue was full: {sum(lost.values())} records were refused"
            f" ({', '.join(f'{count} {level}' for level, count in lost.items())})"
        )
        return logging.LogRecord(LOGGER_NAME, logging.WARNING, __file__, 0, text, None, None)


def _final_message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001  any object may raise from its __str__
        text = f"(the message could not be built: {describe(error)}; template: {_template(record)})"
    # A subclass of str may bring its own formatting, and its own failures, to another thread.
    return shortened(str.__str__(text), MESSAGE_LIMIT)


def _template(record: logging.LogRecord) -> str:
    return repr(record.msg) if isinstance(record.msg, str) else type(record.msg).__name__
