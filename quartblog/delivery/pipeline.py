"""Options -> queue, listener, sinks, outbox and mail thread, connected from a start to its stop."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING

from .capture.attachment import Attachment
from .capture.extra_sinks import ExtraSink, wants_frames
from .capture.finalize import Finalizer
from .capture.handler import BoundedQueueHandler
from .capture.hooks import Hooks
from .capture.listener import Listener
from .capture.sinks import FileSink, StoreSink
from .filesystem import make_folder
from .mail.sender import Sender
from .mail.thread import MailThread
from .own_log import own_logger, report
from .statistics import Statistics
from .store.outbox import Outbox
from .text.formatting import zone
from .text.redaction import Redactor

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Sequence
    from email.message import EmailMessage
    from typing import Any

    from .capture.sinks import Flusher
    from .options import DeliveryOptions
    from .store.workers import Worker

MOMENT = 0.2
"""Seconds that each part has to end at least, even if other parts have used up the time."""
MAIL_AT_STOP = 2.0
"""Seconds that a stop waits for the mail server, and only if the outbox is in memory."""
EXTRA_AT_STOP = 1.0
"""Seconds that a stop waits for all extra sinks together, because each may wait for a server that is away."""
CHILD_ENDS = 5.0
"""Seconds that the end of a multiprocessing child waits for its records."""
CHANGE = 2.0
"""Seconds that a change of options waits for earlier records at most, because a disk may hang."""

logger = own_logger()


class Pipeline:
    """Every thread of one delivery: the listener, one thread a sink, and the mail thread."""

    def __init__(
        self, options: DeliveryOptions, extra_sinks: Iterable[logging.Handler], adopted: Iterable[logging.Handler] = ()
    ) -> None:
        """`start` starts the threads. `adopted` are handlers of the root logger that are extra sinks until the stop."""
        self.options = options
        self.outbox = Outbox(options.outbox)
        self._extra = [ExtraSink(handler) for handler in (*extra_sinks, *adopted)]
        # Log file and outbox need no frames; another handler may.
        self._frames = any(wants_frames(sink.sink) for sink in self._extra)
        self._handler = BoundedQueueHandler(options.queue, frames=self._frames)
        self._file = FileSink(options.file)
        self._store = StoreSink(self.outbox, options.samples)
        self._listener = Listener(
            self._handler.records,
            [self._file, self._store, *self._extra],
            finalize=self._finalizer(options).finalize,
            on_taken=self._handler.taken,
            on_pause=self._flush,
        )
        self._handler.hurry = self._listener.hurry
        self._sender = Sender(self.outbox, options.usable_mail, options.mailing)
        self._mail_thread = MailThread(self.outbox, self._sender, figures=self._figures, on_beat=self._maintain)
        self._hooks = Hooks()
        self._attachment = Attachment(self._handler, options.level, adopted)
        self._zone = ""
        self._starting = threading.RLock()
        self._started = False
        self._ended = False

    def start(self) -> None:
        """Start the threads, once."""
        with self._starting:
            if self._started:
                return
            self._started = True
            self._listener.start()
            for sink in self._threads:
                sink.start()
            if self.outbox.path is not None:
                with contextlib.suppress(OSError):
                    make_folder(self.outbox.path.parent)
            self._mail_thread.start()

    def attach(self) -> None:
        """Take every record from now on."""
        self._attachment.attach()
        self._hooks.install()

    def replace_in_child(self, before: Pipeline) -> None:
        """After a fork, in the child: replace the parent's pipeline, and start with the first record."""
        # The parent writes the records that it has queued and collected.
        before._file.abandon()
        before._store.abandon()
        self._hooks = before._hooks
        self._handler.on_first(self._start_in_child)
        self._attachment.inherit(before._attachment)

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """As Delivery.post."""
        self.start()
        number = self.outbox.post(message, recipients)
        self._mail_thread.wake()
        return number

    def reconfigure(self, options: DeliveryOptions) -> None:
        """Use these options from the next record on; paths stay. Waits up to 2 s for earlier records."""
        if self._ended:
            return
        self.options = options
        if options.outbox is not None:
            self.outbox.reconfigure(options.outbox)
        self._store.samples = options.samples
        self._mail_thread.reconfigure(options.usable_mail, options.mailing)
        self._handler.reconfigure(options.queue)
        # Earlier records get the earlier rules and format.
        self._listener.drain(CHANGE)
        self._listener.finalize = self._finalizer(options).finalize
        self._file.file.reconfigure(options.file)
        self._attachment.reconfigure(options.level)
        self.log_zone()

    def log_zone(self) -> None:
        """Log the time zone of the text file's times, when it has changed. JSON lines are in UTC."""
        file = self.options.file
        now = zone(utc=file.utc) if file.format == "text" else ""
        if now and now != self._zone:
            self._zone = now
            logger.info("Times in this log are %s", now)

    def drain(self, timeout: float, *, mail: bool = False) -> bool:
        """As Delivery.drain."""
        deadline = time.monotonic() + timeout
        done = self._drain_sinks(deadline)
        if mail:
            done = self._mail_thread.drain(_left(deadline)) and done
            # A failed mail has logged a line by now.
            done = self._drain_sinks(deadline) and done
        return done

    def stop(self, timeout: float, *, mail: bool) -> bool:
        """As Delivery.stop; without `mail` it never waits for the mail server."""
        deadline = time.monotonic() + timeout
        self._ended = True
        # The mail thread ends first: it logs what it could not send, and records are still accepted.
        done = self._drain_sinks(deadline, extra=EXTRA_AT_STOP)
        mail_ended = self._stop_mail(deadline, wait=mail)
        done = mail_ended and done
        self._hooks.remove()
        self._attachment.detach()
        done = self._listener.stop(_left(deadline)) and done
        for flusher in (self._file.flusher, self._store.flusher):
            # Even if another sink has used up the time: a file that can be written must get its records.
            done = flusher.stop(max(MOMENT, _left(deadline))) and done
        for extra in self._extra:
            # It had its time before, so this is for what the last records need.
            done = extra.stop(MOMENT) and done
        for handler in (self._file, self._store, self._handler):
            handler.close()
        # A thread that was left behind may hold the outbox for as long as the disk hangs.
        if mail_ended and not self._store.flusher.alive:
            done = self.outbox.close(timeout=max(MOMENT, _left(deadline))) and done
        return done

    def statistics(self) -> Statistics:
        """As Delivery.statistics."""
        handler, file, store, mail = self._handler, self._file, self._store, self._sender.counters
        return Statistics(
            depth=handler.records.qsize(),
            limit=handler.limit,
            high_water=handler.high_water,
            accepted=handler.accepted.value(),
            refused=handler.refused(),
            written=file.written,
            file_lost=file.lost,
            grouped=store.grouped,
            dropped=store.dropped + sum(sink.dropped for sink in self._extra),
            enqueue=handler.latency.percentiles(),
            to_file=file.latency.percentiles(),
            mailed=mail.mailed,
            retried=mail.retried,
            dead=mail.dead,
            to_mail=mail.latency.percentiles(),
            to_file_minutes=file.latency.minutes(),
            to_mail_minutes=mail.latency.minutes(),
        )

    @property
    def hanging(self) -> tuple[Worker, ...]:
        """As Delivery.hanging."""
        return self._mail_thread.hanging

    @property
    def problem(self) -> str | None:
        """As Delivery.problem."""
        if not self._listener.alive or self._mail_thread.died:
            return "a thread has ended"
        if not self._file.healthy:
            return "log file cannot be written"
        return None if self._attachment.intact else "logging was configured anew"

    @property
    def _threads(self) -> tuple[Flusher | ExtraSink, ...]:
        return (self._file.flusher, self._store.flusher, *self._extra)

    def _finalizer(self, options: DeliveryOptions) -> Finalizer:
        redactor = Redactor(options.own_addresses) if options.queue.redact else None
        return Finalizer(redactor, frames=self._frames, own_packages=options.queue.own_packages)

    def _flush(self) -> None:
        self._file.flusher.wake()
        self._store.flusher.wake()

    def _figures(self) -> dict[str, Any]:
        return self.statistics().as_dict()

    def _maintain(self) -> None:
        self._attachment.repair()
        self._file.try_again()
        self.log_zone()

    def _drain_sinks(self, deadline: float, *, extra: float | None = None) -> bool:
        """Wait for all sinks; for the extra ones no longer than `extra` seconds together."""
        done = self._listener.drain(_left(deadline))
        for flusher in (self._file.flusher, self._store.flusher):
            done = flusher.drain(_left(deadline)) and done
        if extra is not None:
            deadline = min(deadline, time.monotonic() + extra)
        for sink in self._extra:
            done = sink.drain(_left(deadline)) and done
        return done

    def _stop_mail(self, deadline: float, *, wait: bool) -> bool:
        if wait and self.outbox.in_memory:
            self._mail_thread.finish(min(MAIL_AT_STOP, _left(deadline)))
        ended = self._mail_thread.stop(max(MOMENT, _left(deadline)))
        if self.outbox.path is None and (waiting := self.outbox.totals().waiting):
            text = f"Mails that were not sent before the stop: {waiting}. The log file has their errors"
            report(text)
            logger.warning("%s", text)
        return ended

    def _start_in_child(self) -> None:
        self.start()
        # A child of multiprocessing ends without atexit.
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            util.Finalize(None, self.drain, kwargs={"timeout": CHILD_ENDS}, exitpriority=0)


def _left(deadline: float) -> float:
    """Return the seconds until then, never below zero."""
    return max(0.0, deadline - time.monotonic())
