"""Everything put together: root logger -> intake (queue, listener, file) -> posting (outbox, mailer)."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from . import forks
from .configuration import Configuration
from .deadlines import left
from .hooks import logger as uncaught
from .options import FileOptions, MailingOptions, MailOptions, QueueOptions
from .own_log import own_logger
from .running import Running

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from email.message import EmailMessage
    from types import TracebackType

    from .options import OutboxOptions

AT_EXIT = 2.0
"""Seconds the end of a program that never stopped its delivery may take."""

logger = own_logger()


class Delivery:
    """Takes every record that reaches the root logger off the thread that logged it.

    `with scope(...)` tells which request or job a record belongs to: the log line, JSON and mail
    know `error_id`, `method`, `route` and `user_id`, and an error takes the earlier records of its
    scope along. `extra_sinks` are any standard handlers; each gets a thread of its own, and is
    closed by its owner, not here.

    Errors are grouped and mailed as digests. With `outbox` they and the mails survive the process,
    and all processes that name the same file share groups, cap and one leader that mails; without it
    this process has its own in memory.

    While it runs, exceptions that reach no logger are logged as well: of threads, of finalizers, and
    the one that ends the program. Warnings are not captured: what the process does with them is not a
    library's decision. After `logging.captureWarnings(True)` they arrive here like every record.

    A forked child has a delivery of its own, which starts with the first record that is logged there.
    """

    def __init__(  # noqa: PLR0913  keywords only, each configures one part
        self,
        *,
        queue: QueueOptions | None = None,
        file: FileOptions | None = None,
        mail: MailOptions | None = None,
        outbox: OutboxOptions | None = None,
        mailing: MailingOptions | None = None,
        extra_sinks: Iterable[logging.Handler] = (),
    ) -> None:
        """Nothing is opened or started yet. Without `mail`, no mail is sent."""
        self._configuration = Configuration(
            queue or QueueOptions(), file or FileOptions(), mail, outbox, mailing or MailingOptions()
        )
        self._extra_sinks = tuple(extra_sinks)
        self._running: Running | None = None
        self._changing = threading.RLock()

    def start(self) -> None:
        """Start the threads and attach to the root logger. Starting twice changes nothing."""
        if self._running is not None:
            return
        self._running = running = Running(self._configuration, self._extra_sinks)
        running.begin()
        running.attach()
        running.tell_zone()
        forks.watch(self)
        atexit.register(self._at_exit)
        mail = self._configuration.mail
        problem = mail.problem if mail else None
        if mail is None:
            logger.info("No mail server is used: errors are logged, no mail is sent")
        elif problem is not None:
            logger.error("No mail can be sent: %s", problem)

    def stop(self, timeout: float = 5.0) -> bool:
        """Detach, write what is queued to the file and the outbox, and end the threads within about `timeout` s.

        Mail that was not sent stays in the outbox; the mail server is waited for only where that is
        in memory, and 2 seconds at most. False when a sink did not return in time. From any thread;
        stopping twice changes nothing.
        """
        return self._stop(timeout, mail=True)

    def reconfigure(
        self,
        *,
        queue: QueueOptions | None = None,
        file: FileOptions | None = None,
        mail: MailOptions | None = None,
        outbox: OutboxOptions | None = None,
        mailing: MailingOptions | None = None,
    ) -> None:
        """Use these options, all of them, from the next record on; no record is lost or written twice.

        Raise ValueError or OSError for a change that cannot work; then everything stays as it was. This
        waits for the disk, for seconds where it hangs: in an event loop, use `asyncio.to_thread`.
        """
        new = Configuration(queue or QueueOptions(), file or FileOptions(), mail, outbox, mailing or MailingOptions())
        with self._changing:
            if (running := self._running) is not None:
                new.check(self._configuration)
                running.reconfigure(self._configuration, new)
            self._configuration = new

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
        """Whether it runs, every record reaches it, its threads are alive and the last one reached the file."""
        return self.problem is None

    @property
    def problem(self) -> str | None:
        """Why it is not healthy, in words without paths, or None where it is."""
        return "stopped" if (running := self._running) is None else running.problem

    @property
    def degraded(self) -> bool:
        """Whether errors and mails are only in memory, because the outbox cannot be used: a kill would lose them."""
        return (running := self._running) is not None and not running.posting.outbox.healthy

    @property
    def refused(self) -> dict[str, int]:
        """Records a full queue has refused since the start, by the name of their level."""
        return self._running.intake.handler.refused() if self._running is not None else {}

    def figures(self) -> dict[str, Any]:
        """What the heartbeat of this process tells, by name; empty while it does not run."""
        return self._running.figures() if self._running is not None else {}

    def pause(self) -> None:
        """Before a fork: hold the log file still, so that the child inherits no half-written line."""
        if self._running is not None:
            self._running.intake.journal.before_fork()

    def resume(self, *, child: bool) -> None:
        """After a fork: the child begins anew, without what its parent has queued."""
        if (before := self._running) is None:
            return
        if not child:
            before.intake.journal.after_fork()
        else:
            self._changing = threading.RLock()
            self._running = Running(self._configuration, self._extra_sinks)
            self._running.take_over(before)

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
        """Stop; an exception that leaves the block is recorded first."""
        try:
            if isinstance(error, Exception):
                uncaught.critical("The program is left by an exception", exc_info=error)
        finally:
            self.stop()

    def _stop(self, timeout: float, *, mail: bool) -> bool:
        deadline = time.monotonic() + timeout
        # A change that is under way may end first, but it may as well wait for a disk that hangs.
        alone = self._changing.acquire(timeout=timeout / 2)
        running, self._running = self._running, None
        if alone:
            self._changing.release()
        atexit.unregister(self._at_exit)
        return running is None or running.end(left(deadline), mail=mail)

    def _at_exit(self) -> None:
        # No thread may look up a host any more: mail waits for the next start.
        self._stop(AT_EXIT, mail=False)
