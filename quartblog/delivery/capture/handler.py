"""Logging call -> bounded queue: the handler freezes the message, adds the scope and formats nothing."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import time
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ..context import current_scope, new_error_id
from ..own_log import describe, own_record, report, reraise_interrupt
from ..statistics import Counter, Latency
from ..text import counted
from ..text.exc_info import FAILURE, drop_frames
from ..text.freezing import USUAL, freeze_extra, frozen_message, instead_of, level_of, template_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..options import QueueOptions


SCOPE = "_scope"
"""The attribute of a queued record with its scope."""
CRUMBS = "_crumbs"
"""The attribute of a queued record with the breadcrumbs of that scope."""


class Unlocked(logging.Handler):
    """A handler without logging's lock, so that one waiting thread delays no other.

    `emit` guards the data that it changes.
    """

    _filter_failed = False

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class, without the lock. A filter that raises lets the record pass."""
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
        except BaseException as error:  # noqa: BLE001  a filter may raise anything
            reraise_interrupt(error)
            if not self._filter_failed:
                self._filter_failed = True
                report(f"a filter of the log failed, so its records pass: {describe(error)}")
            return True
        self._filter_failed = False
        return verdict


SAMPLED = 16
"""The handler measures one call in this many."""

_MARK = "_queued_by"


class _Queued(weakref.ref[logging.LogRecord]):
    """Marks a record as queued by a handler. A copy of the attributes on another record marks nothing."""

    __slots__ = ("by",)
    by: object

    def __reduce__(self) -> tuple[Any, ...]:
        # Foreign handlers may pickle the record.
        return type(None), ()


class BoundedQueueHandler(Unlocked, logging.handlers.QueueHandler):
    """Puts records on a bounded queue, in about 10 µs, from any thread or signal handler.

    The queued record is a copy with its message and its extra values frozen, so a later change of an argument does not
    change it. The thread that logs runs `%`, and the `__str__`, `__repr__` and `__format__` of the arguments and of the
    values in `extra`, without a time limit: a `__str__` that needs 10 s blocks an event loop for 10 s. Large texts and
    containers of builtin types are shortened first (see `text.freezing`).

    The listener's thread runs the rest: the exception's own `__str__`, the traceback, redaction, grouping, files. There
    are two exceptions to this, so that frames can be collected. The end of a scope describes an exception that is cheap
    to describe. While more than `whole` records wait, the thread that logs describes each exception itself.
    """

    def __init__(self, options: QueueOptions, *, frames: bool = False) -> None:
        """With `frames`, records keep their exceptions beyond the end of their scope."""
        # SimpleQueue, because Queue.put deadlocks when a signal handler logs.
        self.records: SimpleQueue[Any] = SimpleQueue()
        super().__init__(self.records)
        self._frames = frames
        self.reconfigure(options)
        self.accepted = Counter()
        self.high_water = 0
        """The most records that ever waited."""
        self.latency = Latency()
        """Durations of logging calls, on the thread that logs."""
        self.unqueued = 0
        """Records that were lost before the queue, because memory or stack was short."""
        self._unqueued_reported = 0
        self._refused: dict[int, Counter] = {}
        self._reported: dict[int, int] = {}
        self._unreported = False
        self._before_first: list[Callable[[], None]] = []
        self.hurry: Callable[[], None] = lambda: None
        """Called when half of the ordinary room is taken: wakes the thread that empties the queue."""

    def reconfigure(self, options: QueueOptions) -> None:
        """Use these options from the next record on."""
        self.limit = options.size
        self._ordinary_limit = max(1, int(options.size * (1 - options.reserve)))
        self._whole = options.whole
        self._breadcrumbs = options.breadcrumbs

    def on_first(self, call: Callable[[], None]) -> None:
        """Call this function once, before the next record is queued."""
        self._before_first.append(call)

    def emit(self, record: logging.LogRecord) -> None:  # noqa: C901  a further call would cost time for each record
        """Queue the record once, however many loggers pass it on, or count its refusal."""
        # The thread that logs pays for every line from here to `put`.
        began = time.perf_counter()
        try:
            attributes = record.__dict__
            mark = attributes.get(_MARK)
            if type(mark) is _Queued and mark.by is self and mark() is record:
                return
            attributes[_MARK] = mark = _Queued(record)
            mark.by = self
            if self._before_first:
                self._run_before_first()
            level = record.levelno
            if type(level) is not int:
                level = level_of(level)
            depth = self.records.qsize()
            limit = self.limit if level >= logging.ERROR else self._ordinary_limit
            if depth < limit:
                try:
                    frozen = self.prepare(record, depth)
                except BaseException as error:  # noqa: BLE001  a record's attributes may raise anything
                    frozen = self._instead_of(record, error)
                self.enqueue(frozen)
                if depth >= self._ordinary_limit >> 1:
                    self.hurry()
                if depth >= self.high_water:
                    self.high_water = depth + 1
                if self.accepted.add() % SAMPLED == 0:
                    self.latency.note(time.perf_counter() - began)
            else:
                self._refused.setdefault(level, Counter()).add()
                self._unreported = True
        except BaseException as error:  # noqa: BLE001  logging must never raise into the code that logs
            # The stack may be full, so that any call may raise.
            try:  # noqa: SIM105  suppress() is three more calls
                reraise_interrupt(error)
            except RecursionError:
                pass
            self.unqueued += 1
            self._unreported = True

    def _instead_of(self, record: logging.LogRecord, error: BaseException) -> logging.LogRecord:
        """Return a stand-in for a record that could not be queued, with the scope that redaction needs."""
        reraise_interrupt(error)
        stand_in = instead_of(record, f"this record could not be queued: {describe(error)}")
        if (scope := current_scope()) is not None:
            stand_in.__dict__.update(
                error_id=scope.error_id, method=scope.method, route=scope.route, user_id=scope.user_id, **{SCOPE: scope}
            )
        return stand_in

    def _run_before_first(self) -> None:
        # `pop` is one step, because two threads may log their first records at once.
        with contextlib.suppress(IndexError):
            self._before_first.pop()()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put the record on the queue; SimpleQueue never blocks here."""
        self.records.put(record)

    def prepare(self, record: logging.LogRecord, depth: int = 0) -> logging.LogRecord:
        """Return a copy with a frozen message and its scope. Other handlers keep the original."""
        # Never of another class, whose methods would run on the threads of the delivery.
        frozen: logging.LogRecord = object.__new__(logging.LogRecord)
        attributes = frozen.__dict__
        message = frozen_message(record)
        level = record.levelno
        is_error = (level if type(level) is int else level_of(level)) >= logging.ERROR
        crumbs: tuple[Any, ...] = ()
        if (scope := current_scope()) is not None:
            # Before the record's own attributes, so that an explicit extra wins.
            attributes["error_id"] = scope.error_id
            attributes["method"] = scope.method
            attributes["route"] = scope.route
            attributes["user_id"] = scope.user_id
            if is_error:
                crumbs = tuple(scope.breadcrumbs)
            elif self._breadcrumbs:
                scope.leave_crumb(record, message, self._breadcrumbs)
        attributes.update(record.__dict__)
        # After the record's own attributes, because a caller may choose any name. The finalizer checks the
        # other attributes.
        attributes[SCOPE] = scope
        attributes[CRUMBS] = crumbs
        attributes.pop(FAILURE, None)
        if len(record.__dict__) > USUAL:
            freeze_extra(attributes)
        attributes["template"] = template_of(record.msg)
        attributes["msg"] = attributes["message"] = message
        attributes["args"] = None
        if is_error and attributes.get("error_id") is None:
            attributes["error_id"] = new_error_id()
        if record.exc_info is None:
            return frozen
        if scope is not None and is_error:
            scope.note_logged(record.exc_info)
        if depth >= self._whole:
            # Frames keep all their locals alive, and many records wait already.
            drop_frames(frozen)
        elif scope is not None and is_error and not self._frames:
            # Last, because from here on another thread may end the scope, which reads the record.
            scope.drop_frames_at_end(frozen)
        return frozen

    def taken(self) -> logging.LogRecord | None:
        """Return the report of refused records, when it is due. The listener calls this after each record."""
        if self._unreported and self.records.qsize() <= self._ordinary_limit // 2:
            return self._refusal_report()
        return None

    def refused(self) -> dict[str, int]:
        """Return how many records were refused so far, by the name of their level."""
        return {logging.getLevelName(level): counter.value() for level, counter in sorted(self._refused.copy().items())}

    def _refusal_report(self) -> logging.LogRecord | None:
        self._unreported = False
        lost: dict[str, int] = {}
        for level, counter in sorted(self._refused.copy().items()):
            total = counter.value()
            if news := total - self._reported.get(level, 0):
                lost[logging.getLevelName(level)] = news
            self._reported[level] = total
        unqueued, self._unqueued_reported = self.unqueued - self._unqueued_reported, self.unqueued
        losses = []
        if lost:
            losses.append(
                f"The log queue was full: {counted(sum(lost.values()), 'record was', 'records were')} refused"
                f" ({', '.join(f'{count} {level}' for level, count in lost.items())})"
            )
        if unqueued:
            losses.append(f"{counted(unqueued, 'record was', 'records were')} lost, because memory or stack was short")
        return own_record(logging.WARNING, "; ".join(losses)) if losses else None
