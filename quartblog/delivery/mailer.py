"""Posted messages -> a thread with its own event loop -> the SMTP server, however slow that is."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from .mail import MAILER_THREAD
from .queue import LOGGER_NAME
from .smtp import MailFailed, Receipt, send
from .stderr import describe, report

if TYPE_CHECKING:
    from email.message import EmailMessage

    from .options import MailOptions

logger = logging.getLogger(f"{LOGGER_NAME}.mailer")


class Mailer:
    """Sends one message after the other. `post` returns at once; a failure is one log line."""

    def __init__(self, options: MailOptions) -> None:
        """Nothing is connected before the first message."""
        self._options = options
        self._posted: SimpleQueue[EmailMessage | threading.Event | None] = SimpleQueue()
        self._refusing = False
        self._giving_up = False
        self._sending: tuple[asyncio.AbstractEventLoop, asyncio.Task[Receipt]] | None = None
        self._thread = threading.Thread(target=self._run, name=MAILER_THREAD, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; once in a mailer's life."""
        self._thread.start()

    def post(self, message: EmailMessage) -> None:
        """Queue the message; when too many wait for a slow server it is refused, with a log line."""
        if self._posted.qsize() < self._options.waiting:
            self._refusing = False
            self._posted.put(message)
        elif not self._refusing:
            self._refusing = True
            _tell(
                f"{self._options.waiting} mails wait for {self._options.server}: reports are not"
                " mailed until it catches up, the log file has them all"
            )

    def drain(self, timeout: float) -> bool:
        """Wait until every message posted before has been sent or has failed; False when late."""
        if not self.alive:
            return self._posted.empty()
        mark = threading.Event()
        self._posted.put(mark)
        return mark.wait(timeout)

    def stop(self, timeout: float) -> bool:
        """Send for at most `timeout` seconds more, then give up what is left, with one log line."""
        if not self.alive:
            return True
        deadline = time.monotonic() + timeout
        self._posted.put(None)
        self._thread.join(timeout)
        if self.alive:
            self._giving_up = True
            self._cancel_sending()
            self._thread.join(max(0.2, deadline - time.monotonic()))
        return not self.alive

    def _cancel_sending(self) -> None:
        if (sending := self._sending) is not None:
            loop, task = sending
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                return  # The loop has just closed, so the task is over.

    def _run(self) -> None:
        left = 0
        with asyncio.Runner() as runner:
            while (item := self._posted.get()) is not None:
                if isinstance(item, threading.Event):
                    item.set()
                elif self._giving_up:
                    left += 1
                else:
                    left += not runner.run(self._deliver(item))
        if left:
            _tell(f"{left} mails were not sent before the stop; the log file has their reports")

    async def _deliver(self, message: EmailMessage) -> bool:
        """Try once. False only when the stop cut the attempt short."""
        task = asyncio.ensure_future(send(message, self._options))
        self._sending = (asyncio.get_running_loop(), task)
        try:
            if self._giving_up:
                task.cancel()
            receipt = await task
        except asyncio.CancelledError:
            return False
        except MailFailed as error:
            _tell(f"The mail {message['Subject']!r} was not sent: {error}")
        except Exception as error:  # noqa: BLE001  one message must not end the thread
            _tell(f"The mail {message['Subject']!r} was not sent: {describe(error)}")
        else:
            for address, words in receipt.refused.items():
                _tell(f"The mail {message['Subject']!r} was refused for {address}: {words}")
        finally:
            self._sending = None
        return True


def _tell(text: str) -> None:
    report(text)
    logger.warning("%s", text)
