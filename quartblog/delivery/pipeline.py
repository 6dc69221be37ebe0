"""Everything put together: root logger -> bounded queue -> listener thread -> file, mail, extra sinks."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Self

from .files import RotatingFile
from .lanes import Lane
from .listener import Listener
from .mail import MailSink
from .mailer import Mailer
from .options import FileOptions, MailOptions, QueueOptions
from .queue import LOGGER_NAME, BoundedQueueHandler, Context

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["Delivery", "FileOptions", "MailOptions", "QueueOptions"]

MAIL_AT_STOP = 2.0
"""Seconds a stop waits for the mail server at most, however long it may take otherwise."""

logger = logging.getLogger(LOGGER_NAME)


class Delivery:
    """Takes every record that reaches the root logger off the thread that logged it.

    `context` is called for each record on the thread that logs it, and gives it attributes: the
    log line, JSON and mail know `error_id`, `method`, `route` and `user_id`. `extra_sinks` are any
    standard handlers; each gets a thread of its own, and is closed by its owner, not here.

    Warnings are not captured: what the process does with them is not a library's decision. After
    `logging.captureWarnings(True)` they arrive here like every record.
    """

    def __init__(
        self,
        *,
        queue: QueueOptions | None = None,
        file: FileOptions | None = None,
        mail: MailOptions | None = None,
        context: Context | None = None,
        extra_sinks: Iterable[logging.Handler] = (),
    ) -> None:
        """Nothing is opened or started yet. Without `mail`, no mail is sent."""
        self._queue_options = queue or QueueOptions()
        self._file_options = file or FileOptions()
        self._mail_options = mail
        self._context = context
        self._extra_sinks = tuple(extra_sinks)
        self._running: _Running | None = None

    def start(self) -> None:
        """Start the threads and attach to the root logger. Starting twice changes nothing."""
        if self._running is not None:
            return
        self._running = running = _Running(
            self._queue_options,
            self._file_options,
            self._mail_options,
            self._context,
            self._extra_sinks,
        )
        running.begin()
        problem = self._mail_options.problem if self._mail_options else None
        if self._mail_options is None:
            logger.info("No mail server is set: errors are logged, no mail is sent")
        elif problem is not None:
            logger.error("No mail can be sent: %s", problem)

    def stop(self, timeout: float = 5.0) -> bool:
        """Detach, write what is queued to the file, and end the threads within about `timeout` s.

        The mail server gets 2 seconds of that at most. False when a sink did not return in time.
        From any thread; stopping twice changes nothing.
        """
        running, self._running = self._running, None
        return running is None or running.end(timeout)

    def drain(self, timeout: float = 5.0, *, mail: bool = False) -> bool:
        """Wait until all sinks have handled what was logged before this call; False when late.

        A mail counts as handled once it waits for the mail server; with `mail=True`, once it has
        been sent or has failed. This call blocks: in an event loop, use `asyncio.to_thread`.
        """
        return self._running is None or self._running.drain(timeout, mail=mail)

    @property
    def healthy(self) -> bool:
        """Whether it runs, its listener is alive and the last record reached the file."""
        return self._running is not None and self._running.healthy

    @property
    def refused(self) -> dict[str, int]:
        """Records a full queue has refused since the start, by the name of their level."""
        return self._running.handler.refused() if self._running is not None else {}

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


class _Running:
    """What exists between start and stop."""

    def __init__(
        self,
        queue: QueueOptions,
        file: FileOptions,
        mail: MailOptions | None,
        context: Context | None,
        extra_sinks: Iterable[logging.Handler],
    ) -> None:
        self.handler = BoundedQueueHandler(queue, context)
        self._level = logging.getLevelNamesMapping()[file.level]
        self._level_before = logging.root.level
        self._file = RotatingFile(file)
        self._lanes = [Lane(sink) for sink in extra_sinks]
        self._mailer = Mailer(mail) if mail is not None and mail.problem is None else None
        sinks: list[logging.Handler] = [self._file, *self._lanes]
        if mail is not None and self._mailer is not None:
            sinks.append(MailSink(mail, self._mailer.post))
        self._listener = Listener(self.handler.records, sinks, on_taken=self.handler.taken)

    @property
    def healthy(self) -> bool:
        return self._listener.alive and self._file.writable

    def begin(self) -> None:
        for part in (self._listener, *self._lanes, self._mailer):
            if part is not None:
                part.start()
        self.handler.reader = self._listener.ident
        logging.root.addHandler(self.handler)
        logging.root.setLevel(self._level)

    def drain(self, timeout: float, *, mail: bool) -> bool:
        deadline = time.monotonic() + timeout
        done = self._listener.drain(timeout)
        for lane in self._lanes:
            done = lane.drain(_left(deadline)) and done
        if mail and self._mailer is not None:
            done = self._mailer.drain(_left(deadline)) and done
            # A failed mail has logged a line by now: that is to be handled as well.
            done = self._listener.drain(_left(deadline)) and done
        return done

    def end(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        # The mailer first: what it could not send is a record, and records are still accepted.
        done = self._listener.drain(timeout)
        if self._mailer is not None:
            self._mailer.stop(min(MAIL_AT_STOP, _left(deadline)))
        logging.root.removeHandler(self.handler)
        if logging.root.level == self._level:
            logging.root.setLevel(self._level_before)
        ended = self._listener.stop(_left(deadline))
        if ended:
            self._file.close()
        done = ended and done
        for lane in self._lanes:
            done = lane.stop(_left(deadline)) and done
        self.handler.close()
        return done


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
