"""Options -> one running delivery: every record of the root logger -> file, outbox and mail."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from typing import TYPE_CHECKING, Self

from .capture.attachment import handlers_to_adopt
from .capture.hooks import logger as uncaught
from .forks import reset_after_fork
from .options import DeliveryOptions, FileOptions, MailingOptions, MailOptions, QueueOptions
from .own_log import own_logger
from .pipeline import Pipeline
from .statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from email.message import EmailMessage
    from types import TracebackType

    from .options import OutboxOptions
    from .store.outbox import Outbox
    from .store.workers import Worker

AT_EXIT = 2.0
"""Seconds that the stop at the end of a program may take, if the program itself did not stop its delivery."""

logger = own_logger()


class Delivery:
    """Takes every record that reaches the root logger off the thread that logged it.

    `with scope(...)` marks the records of one request or job: log line, JSON and mail have its `error_id`, `method`,
    `route` and `user_id`, and an error also has the earlier records of its scope. `extra_sinks` are any standard
    handlers. Each gets a thread of its own, and its owner closes it.

    Errors are grouped and mailed as digests. With `outbox` they and the mails survive the process, and all processes
    that name the same file share groups, cap and one leader that mails. Without it they stay in memory.

    While it runs, it also logs exceptions that reach no logger: those of threads and finalizers, and the one that ends
    the program. It does not capture warnings; after `logging.captureWarnings(True)` they arrive like every record.

    Handlers that are on the root logger already, such as that of `logging.basicConfig()`, keep running on the thread
    that logs, and show what is redacted here. With `adopt` they become extra sinks from the start to the stop: each
    gets a thread of its own and redacted records. Handlers of other loggers stay where they are, and so do loggers
    with `propagate = False`, such as uvicorn's own: their records do not arrive.

    A forked child has a delivery of its own, which starts with the first record that the child logs.
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
        adopt: bool = False,
    ) -> None:
        """`start` opens the files and starts the threads. Without `mail`, no mail is sent."""
        self._options = DeliveryOptions(
            queue or QueueOptions(), file or FileOptions(), mail, outbox, mailing or MailingOptions()
        )
        self._extra_sinks = tuple(extra_sinks)
        self._adopt = adopt
        self._adopted: tuple[logging.Handler, ...] = ()
        self._pipeline: Pipeline | None = None
        self._changing = threading.RLock()

    def start(self) -> None:
        """Start the threads and attach to the root logger. Starting twice changes nothing."""
        if self._pipeline is not None:
            return
        self._adopted = handlers_to_adopt() if self._adopt else ()
        self._pipeline = pipeline = Pipeline(self._options, self._extra_sinks, self._adopted)
        pipeline.start()
        pipeline.attach()
        pipeline.log_zone()
        if self._pipeline is not pipeline:
            # A signal handler, or another thread, has stopped it meanwhile: what began later ends as well.
            pipeline.stop(AT_EXIT, mail=False)
            return
        reset_after_fork(self)
        atexit.register(self._at_exit)
        mail = self._options.mail
        problem = mail.problem if mail else None
        if mail is None:
            logger.info("No mail server is used: errors are logged, no mail is sent")
        elif problem is not None:
            logger.error("No mail can be sent: %s", problem)

    def stop(self, timeout: float = 5.0) -> bool:
        """Detach, write the queue to the file and the outbox, and end the threads within about `timeout` seconds.

        Unsent mail stays in the outbox. Only if the outbox is in memory, a stop waits for the mail server, 2 seconds at
        most. False when a sink did not return in time. Any thread may call it; stopping twice changes nothing.
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

        Another path of the log file or the outbox takes effect at the next start. Raise ValueError for mail options
        with which no mail can be sent; then no option changes. This waits up to 2 seconds for earlier records: in an
        event loop, use `asyncio.to_thread`.
        """
        new = DeliveryOptions(queue or QueueOptions(), file or FileOptions(), mail, outbox, mailing or MailingOptions())
        with self._changing:
            if (pipeline := self._pipeline) is not None:
                if mail is not None and mail != self._options.mail and mail.problem:
                    raise ValueError(f"no mail can be sent: {mail.problem}")
                pipeline.reconfigure(new.with_paths_of(pipeline.options))
            self._options = new

    def drain(self, timeout: float = 5.0, *, mail: bool = False) -> bool:
        """Wait until all sinks have handled every earlier record. False after `timeout` seconds.

        A mail counts as handled once it is in the outbox; with `mail=True`, once the sender has tried every mail that
        is due. This call blocks: in an event loop, use `asyncio.to_thread`.
        """
        return self._pipeline is None or self._pipeline.drain(timeout, mail=mail)

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """Send a mail of the program's own, such as a password reset. Return its number once the outbox has it on disk.

        The sender tries it like a digest, and does not count it against the cap. This waits for the disk: in an event
        loop, use `asyncio.to_thread`. Raise RuntimeError while the delivery does not run.
        """
        if self._pipeline is None:
            raise RuntimeError("the delivery does not run, so it cannot send this mail")
        return self._pipeline.post(message, recipients)

    @property
    def outbox(self) -> Outbox | None:
        """The store of groups and mails, to read and change; None while the delivery does not run."""
        return self._pipeline.outbox if self._pipeline is not None else None

    @property
    def healthy(self) -> bool:
        """Whether it runs, every record reaches it, its threads are alive and the last record reached the file."""
        return self.problem is None

    @property
    def problem(self) -> str | None:
        """Why it is not healthy, in words without paths, or None if it is healthy."""
        return "stopped" if (pipeline := self._pipeline) is None else pipeline.problem

    @property
    def degraded(self) -> bool:
        """Whether the outbox cannot be used. Then errors and mails are only in memory, and a kill would lose them."""
        return (pipeline := self._pipeline) is not None and not pipeline.outbox.healthy

    @property
    def hanging(self) -> tuple[Worker, ...]:
        """The workers of this host that hang, as of this process's last heartbeat. This does not wait for the disk."""
        return self._pipeline.hanging if self._pipeline is not None else ()

    @property
    def recent_losses(self) -> tuple[str, ...]:
        """What the full outbox dropped in the last hour, in words without paths. This does not wait for the disk."""
        return self._pipeline.outbox.heartbeats.recent_losses if self._pipeline is not None else ()

    def statistics(self) -> Statistics:
        """Return the counts of this process since the start; all zero while the delivery does not run."""
        return self._pipeline.statistics() if self._pipeline is not None else Statistics()

    def reset_in_child(self) -> None:
        """After a fork: begin anew, without the records that the parent has queued."""
        if (before := self._pipeline) is not None:
            self._changing = threading.RLock()
            self._pipeline = Pipeline(before.options, self._extra_sinks, self._adopted)
            self._pipeline.replace_in_child(before)

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
        """Stop, after logging an exception that leaves the block."""
        try:
            if isinstance(error, Exception):
                uncaught.critical("An exception leaves the program", exc_info=error)
        finally:
            self.stop()

    def _stop(self, timeout: float, *, mail: bool) -> bool:
        deadline = time.monotonic() + timeout
        # Let a change that is under way end first.
        locked = self._changing.acquire(timeout=timeout / 2)
        pipeline, self._pipeline = self._pipeline, None
        if locked:
            self._changing.release()
        atexit.unregister(self._at_exit)
        return pipeline is None or pipeline.stop(max(0.0, deadline - time.monotonic()), mail=mail)

    def _at_exit(self) -> None:
        # No thread may look up a host any more, so mail waits for the next start.
        self._stop(AT_EXIT, mail=False)
