"""Outbox -> a thread with its own event loop -> the mail server. A slow server delays no other part.

Every process that logs has this thread. One process with a mail server, the leader, mails for all; the others ask
for the lead every second. A leader that was killed or stands still loses the lead after LEASE, 5 s, and within another
second another worker mails.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..own_log import MAILER_THREAD, describe, own_logger, report, reraise_cancellation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..options import MailingOptions, MailOptions
    from ..store.outbox import Outbox
    from ..store.workers import Worker
    from .sender import Sender

logger = own_logger("mailer")

LOOK = 0.25
"""Seconds between two rounds of the leader."""
BEAT = 1.0
"""Seconds between two heartbeats, and between two times a worker asks for the lead."""
HOUSEKEEPING = 60.0
"""Seconds between two times a process deletes rows that are too old or too many."""
STARTING = 5.0
"""Seconds that a start waits for the thread at most."""
AT_ONCE = 0.02
"""Seconds between two looks while a drain or a stop waits."""


class MailThread:
    """The loop around a Sender, one thread a process. Only `drain` and `finish` wait for the mail server."""

    def __init__(  # noqa: PLR0913  keywords, each one hook or one time
        self,
        outbox: Outbox,
        sender: Sender,
        *,
        figures: Callable[[], Mapping[str, Any]] = dict,
        on_beat: Callable[[], object] = lambda: None,
        look: float = LOOK,
        beat: float = BEAT,
    ) -> None:
        """`figures` returns the statistics of this process, which each heartbeat stores, and the end of the thread.

        `on_beat` is called before each heartbeat, and not at the end: what repairs the process would undo a stop.
        `look`: seconds between two rounds of the leader. `beat`: seconds between two heartbeats.
        """
        self._look = look
        self._beat = beat
        self._outbox = outbox
        self._sender = sender
        self._figures = figures
        self._on_beat = on_beat
        self.hanging: tuple[Worker, ...] = ()
        """The workers that hung when this process gave its last heartbeat."""
        self._failing: set[str] = set()
        self._last = False
        self._stopping = False
        self._cleared = -HOUSEKEEPING
        self._marks: deque[threading.Event] = deque()
        self._main: tuple[asyncio.AbstractEventLoop, asyncio.Future[None], asyncio.Event] | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name=MAILER_THREAD, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def died(self) -> bool:
        """Whether the thread has ended, which only a stop should cause."""
        return self._thread.ident is not None and not self.alive

    @property
    def leading(self) -> bool:
        """Whether this process mails for the host."""
        return self._sender.lease is not None

    def start(self) -> None:
        """Start the thread, once."""
        self._thread.start()
        # So that a stop right after it finds a running loop.
        self._started.wait(STARTING)

    def wake(self) -> None:
        """Begin the next round now, rather than within a quarter of a second."""
        if self._main is not None:
            loop, _, bell = self._main
            with contextlib.suppress(RuntimeError):  # The loop has just closed.
                loop.call_soon_threadsafe(bell.set)

    def reconfigure(self, mail: MailOptions | None, options: MailingOptions) -> None:
        """Use these from the next mail on; without `mail`, another process may lead."""
        self._sender.reconfigure(mail, options)
        self.wake()

    def drain(self, timeout: float) -> bool:
        """Wait until the leader has tried everything that is due now. False after `timeout` seconds.

        A process without a mail server does not wait for those that have one.
        """
        if not self.alive or self._sender.mail is None:
            return self._sender.idle
        mark = threading.Event()
        self._marks.append(mark)
        self.wake()
        return mark.wait(timeout)

    def finish(self, timeout: float) -> bool:
        """Drain, with every error that no mail has reported, for an outbox in memory."""
        self._last = True
        return self.drain(timeout)

    def stop(self, timeout: float = 1.0) -> bool:
        """End the thread without waiting for the mail server. Unsent mail stays in the outbox."""
        deadline = time.monotonic() + timeout
        self._stopping = True
        while self.alive and time.monotonic() < deadline:
            if self._main is not None:
                loop, serving, _ = self._main
                with contextlib.suppress(RuntimeError):  # The loop has just closed.
                    loop.call_soon_threadsafe(serving.cancel)
            # More than once, because asyncio.wait_for of Python 3.11 can lose a cancellation.
            self._thread.join(AT_ONCE)
        return not self.alive

    def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    asyncio.run(self._work())
                except BaseException as error:  # noqa: BLE001  a library's callback may raise an exception that ends the loop
                    self._report_once("mail", error)
                if not self._stopping:
                    time.sleep(AT_ONCE)
        finally:
            self._resign()

    async def _work(self) -> None:
        bell = asyncio.Event()
        serving = asyncio.ensure_future(self._serve(bell))
        heart = asyncio.ensure_future(self._live())
        self._main = (asyncio.get_running_loop(), serving, bell)
        self._started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        heart.cancel()

    async def _serve(self, bell: asyncio.Event) -> None:
        while True:
            bell.clear()
            waiting = [self._marks.popleft() for _ in range(len(self._marks))]
            done = await self._round()
            for mark in waiting:
                if done:
                    mark.set()
                else:
                    self._marks.append(mark)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await bell.wait()

    def _pause(self) -> float:
        if self.leading:
            return self._look
        return AT_ONCE if self._marks else self._beat

    async def _round(self) -> bool:
        """Do what is due. Return whether all of it was tried."""
        try:
            if self._sender.mail is None:
                self._sender.resign()
            led = self.leading
            done = await self._sender.work(last=self._last)
            if self.leading and not led and not self._outbox.in_memory:
                logger.info("This process mails for the host now")
        except BaseException as error:  # noqa: BLE001  the next round may succeed
            reraise_cancellation(error)
            self._report_once("mail", error)
            return False
        self._failing.discard("mail")
        return done

    def _resign(self) -> None:
        try:
            self._sender.resign()
            self._outbox.heartbeats.leave(self._sender.worker, figures=self._figures())
        except Exception as error:  # noqa: BLE001  the lease ends by itself
            self._report_once("resignation", error)

    async def _live(self) -> None:
        """Store heartbeats, also while the other task waits for a mail server."""
        while True:
            # Before the first heartbeat as well, so that a command that ends at once is not a worker.
            await asyncio.sleep(self._beat)
            try:
                if self.leading:
                    # Also while a mail takes longer than the lease.
                    self._sender.lead()
                self._on_beat()
                self._outbox.heartbeats.beat(self._sender.worker, leader=self.leading, figures=self._figures())
                self.hanging = tuple(worker for worker in self._outbox.workers() if worker.hangs)
                # A worker without a mail server does it too, because no worker may have one; twice does no harm.
                clears = self.leading or self._sender.mail is None
                if clears and time.monotonic() - self._cleared >= HOUSEKEEPING:
                    self._cleared = time.monotonic()
                    self._outbox.housekeeping()
            except BaseException as error:  # noqa: BLE001  the next heartbeat may succeed
                reraise_cancellation(error)
                self._report_once("heartbeat", error)
            else:
                self._failing.discard("heartbeat")

    def _report_once(self, part: str, error: BaseException) -> None:
        if part not in self._failing:
            self._failing.add(part)
            report(f"no {part} for now: {describe(error)}")
            logger.warning("No %s for now: %s", part, describe(error))
