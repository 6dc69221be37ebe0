"""Logging call -> bounded queue -> listener thread -> log file, errors for the outbox, extra sinks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..deadlines import MOMENT, left
from ..grouping.fingerprint import Identifier
from ..text.redaction import Redactor
from .extra_sinks import ExtraSink
from .finalize import Finalizer
from .flusher import CHANGING
from .handler import BoundedQueueHandler
from .journal import FileSink
from .listener import Listener
from .log_file import RotatingFile

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from ..options import FileOptions, QueueOptions
    from .flusher import Flusher
    from .outbox_sink import StoreSink


class Intake:
    """The threads that no caller waits for; the log file and the outbox have one each, for disks may hang."""

    def __init__(
        self,
        queue: QueueOptions,
        file: FileOptions,
        own_addresses: Iterable[str],
        errors: StoreSink,
        extra_sinks: Iterable[logging.Handler],
    ) -> None:
        """Nothing runs yet. `own_addresses` are the e-mail addresses that records may show."""
        self._lanes = [ExtraSink(sink) for sink in extra_sinks]
        # Our own sinks need no frames, only somebody's extra sink may.
        self._frames = bool(self._lanes)
        self.handler = BoundedQueueHandler(queue, frames=self._frames)
        self.journal = FileSink(RotatingFile(file))
        self.errors = errors
        self.listener = Listener(
            self.handler.records,
            [self.journal, errors, *self._lanes],
            settle=self._settler(queue, own_addresses).settle,
            on_taken=self.handler.taken,
            on_pause=self._ring,
        )

    @property
    def healthy(self) -> bool:
        """Whether the listener lives and the last record reached the file."""
        return self.listener.alive and self.journal.file.writable and not self.journal.flusher.hangs

    def start(self) -> None:
        """Start the threads; once in an intake's life."""
        self.listener.start()
        self.handler.reader = self.listener.ident
        self.handler.hurry = self.listener.hurry
        for part in self._threads:
            part.start()

    def reconfigure(self, queue: QueueOptions, file: FileOptions | None, own_addresses: Iterable[str]) -> None:
        """Use these from the next record on; without `file` it stays."""
        self.handler.reconfigure(queue)
        # What was logged before belongs to the file, and to the rules, before.
        self.listener.drain(CHANGING)
        self.listener.settle = self._settler(queue, own_addresses).settle
        if file is not None:
            self.journal.change(RotatingFile(file))

    def drain(self, timeout: float) -> bool:
        """Wait until what was logged before is in the file, the outbox and the extra sinks; False when late."""
        deadline = time.monotonic() + timeout
        done = self.listener.drain(timeout)
        for part in self._threads:
            done = part.drain(left(deadline)) and done
        return done

    def stop(self, timeout: float) -> bool:
        """Write what is queued and end the threads; False when a sink held one of them for longer."""
        deadline = time.monotonic() + timeout
        done = self.listener.stop(timeout)
        for part in self._threads:
            # A moment even where another sink has used up the time: a file that can be written shall be.
            done = part.stop(max(MOMENT, left(deadline))) and done
        for handler in (self.journal, self.errors, self.handler):
            handler.close()
        return done

    def abandon(self) -> None:
        """After a fork, in the child: the parent has the threads, and all that is queued is its own to write."""
        self.journal.abandon()
        self.errors.abandon()

    def try_file_again(self) -> None:
        """Let no site stay unhealthy because nothing is logged: a probe's 503 may keep all visitors away."""
        if not self.journal.file.writable:
            self.journal.flusher.ring()

    @property
    def stores(self) -> bool:
        """Whether a write to the outbox is still under way."""
        return self.errors.flusher.alive

    def figures(self) -> dict[str, Any]:
        """What the heartbeat tells; latencies in milliseconds."""
        handler, journal = self.handler, self.journal
        return {
            "depth": handler.records.qsize(),
            "limit": handler.limit,
            "high_water": handler.high_water,
            "accepted": handler.accepted.value(),
            "refused": handler.refused(),
            "written": journal.written,
            "file_lost": journal.lost,
            "grouped": self.errors.grouped,
            "passed_by": self.errors.passed_by + sum(lane.passed_by for lane in self._lanes),
            "enqueue": handler.latency.percentiles(),
            "to_file": journal.latency.percentiles(),
        }

    @property
    def _threads(self) -> tuple[Flusher | ExtraSink, ...]:
        return (*self.journal.flushers, self.errors.flusher, *self._lanes)

    def _settler(self, queue: QueueOptions, own_addresses: Iterable[str]) -> Finalizer:
        redactor = Redactor(own_addresses) if queue.redact else None
        return Finalizer(redactor, frames=self._frames, identifier=Identifier(queue.own_packages))

    def _ring(self) -> None:
        self.journal.flusher.ring()
        self.errors.flusher.ring()
