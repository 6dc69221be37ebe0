"""Everything put together: root logger -> bounded queue -> listener thread -> file, outbox, extra sinks.

The outbox is emptied by a thread of its own: outbox -> mailer thread -> mail server.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from .files import RotatingFile
from .lanes import Lane
from .listener import Listener
from .mailer import Mailer
from .options import FileOptions, MailingOptions, MailOptions, QueueOptions, bare_address
from .outbox import Outbox
from .outbox_options import SAMPLES, OutboxOptions
from .outbox_sink import OutboxSink
from .postman import Postman
from .queue import LOGGER_NAME, BoundedQueueHandler, Context
from .stderr import report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from email.message import EmailMessage
    from types import TracebackType

MAIL_AT_STOP = 2.0
"""Seconds a stop waits for the mail server at most, and only where the outbox ends with the process."""

logger = logging.getLogger(LOGGER_NAME)


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that can be configured."""

    queue: QueueOptions = field(default_factory=QueueOptions)
    file: FileOptions = field(default_factory=FileOptions)
    mail: MailOptions | None = None
    outbox: OutboxOptions | None = None
    mailing: MailingOptions = field(default_factory=MailingOptions)

    @property
    def usable_mail(self) -> MailOptions | None:
        """The mail options if mail can be sent with them."""
        return self.mail if self.mail is not None and self.mail.problem is None else None


class Delivery:
    """Takes every record that reaches the root logger off the thread that logged it.

    `context` is called for each record on the thread that logs it, and gives it attributes: the
    log line, JSON and mail know `error_id`, `method`, `route` and `user_id`. `extra_sinks` are any
    standard handlers; each gets a thread of its own, and is closed by its owner, not here.

    Errors are grouped and mailed as digests. With `outbox` they and the mails survive the process,
    and all processes that name the same file share groups, cap and one leader that mails; without it
    this process has its own in memory.

    Warnings are not captured: what the process does with them is not a library's decision. After
    `logging.captureWarnings(True)` they arrive here like every record.
    """

    def __init__(  # noqa: PLR0913  keywords only, each configures one part
        self,
        *,
        queue: QueueOptions | None = None,
        file: FileOptions | None = None,
        mail: MailOptions | None = None,
        outbox: OutboxOptions | None = None,
        mailing: MailingOptions | None = None,
        context: Context | None = None,
        extra_sinks: Iterable[logging.Handler] = (),
    ) -> None:
        """Nothing is opened or started yet. Without `mail`, no mail is sent."""
        self._configuration = Configuration(
            queue or QueueOptions(), file or FileOptions(), mail, outbox, mailing or MailingOptions()
        )
        self._context = context
        self._extra_sinks = tuple(extra_sinks)
        self._running: _Running | None = None

    def start(self) -> None:
        """Start the threads and attach to the root logger. Starting twice changes nothing."""
        if self._running is not None:
            return
        self._running = running = _Running(self._configuration, self._context, self._extra_sinks)
        running.begin()
        mail = self._configuration.mail
        problem = mail.problem if mail else None
        if mail is None:
            logger.info("No mail server is set: errors are logged, no mail is sent")
        elif problem is not None:
            logger.error("No mail can be sent: %s", problem)

    def stop(self, timeout: float = 5.0) -> bool:
        """Detach, write what is queued to the file and the outbox, and end the threads within about `timeout` s.

        Mail that was not sent stays in the outbox; the mail server is waited for only where that is
        in memory, and 2 seconds at most. False when a sink did not return in time. From any thread;
        stopping twice changes nothing.
        """
        running, self._running = self._running, None
        return running is None or running.end(timeout)

    def drain(self, timeout: float = 5.0, *, mail: bool = False) -> bool:
        """Wait until all sinks have handled what was logged before this call; False when late.

        A mail counts as handled once it is in the outbox; with `mail=True`, once all mail that is due
        now was tried. This call blocks: in an event loop, use `asyncio.to_thread`.
        """
        return self._running is None or self._running.drain(timeout, mail=mail)

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """Send a mail of the program's own, such as a password reset; returns its id once it is safe in the outbox.

        It is tried like a digest and never counted against the cap. This waits for the disk: in an
        event loop, use `asyncio.to_thread`. Raise RuntimeError while the delivery does not run.
        """
        if self._running is None:
            raise RuntimeError("the delivery does not run: nobody would send this mail")
        return self._running.post(message, recipients)

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
        self, configuration: Configuration, context: Context | None, extra_sinks: Iterable[logging.Handler]
    ) -> None:
        file, outbox = configuration.file, configuration.outbox
        self.handler = BoundedQueueHandler(configuration.queue, context)
        self._level = logging.getLevelNamesMapping()[file.level]
        self._level_before = logging.root.level
        self._file = RotatingFile(file)
        self._lanes = [Lane(sink) for sink in extra_sinks]
        self._outbox = Outbox(None) if outbox is None else Outbox.of(outbox)
        self._mailer = Mailer(self._outbox, Postman(self._outbox, configuration.usable_mail, configuration.mailing))
        self._collected = OutboxSink(self._outbox, outbox.samples if outbox else SAMPLES)
        self._listener = Listener(
            self.handler.records,
            [self._file, self._collected, *self._lanes],
            on_taken=self.handler.taken,
            on_pause=self._collected.flush,
        )

    @property
    def healthy(self) -> bool:
        return self._listener.alive and self._file.writable

    def begin(self) -> None:
        self._listener.start()
        for lane in self._lanes:
            lane.start()
        self.handler.reader = self._listener.ident
        logging.root.addHandler(self.handler)
        logging.root.setLevel(self._level)
        self._mailer.start()

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        number = self._outbox.post(message, [*map(bare_address, recipients)])
        self._mailer.wake()
        return number

    def drain(self, timeout: float, *, mail: bool) -> bool:
        deadline = time.monotonic() + timeout
        done = self._listener.drain(timeout)
        for lane in self._lanes:
            done = lane.drain(_left(deadline)) and done
        if mail:
            done = self._mailer.drain(_left(deadline)) and done
            # A failed mail has logged a line by now: that is to be handled as well.
            done = self._listener.drain(_left(deadline)) and done
        return done

    def end(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        # The mailer first: what it could not send is a record, and records are still accepted.
        done = self._listener.drain(timeout)
        self._end_mail(deadline)
        logging.root.removeHandler(self.handler)
        if logging.root.level == self._level:
            logging.root.setLevel(self._level_before)
        ended = self._listener.stop(_left(deadline))
        if ended:
            self._file.close()
            self._collected.close()
            self._outbox.close()
        done = ended and done
        for lane in self._lanes:
            done = lane.stop(_left(deadline)) and done
        self.handler.close()
        return done

    def _end_mail(self, deadline: float) -> None:
        if self._outbox.in_memory:
            self._mailer.finish(min(MAIL_AT_STOP, _left(deadline)))
        self._mailer.stop(max(0.2, _left(deadline)))
        if self._outbox.path is None and (left := len(self._outbox.mails("waiting"))):
            text = f"Mails that were not sent before the stop: {left}; the log file has what they tell"
            report(text)
            logger.warning("%s", text)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
