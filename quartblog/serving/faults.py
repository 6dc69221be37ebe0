"""Exceptions outside of every request -> a count where a client broke the protocol, else an error without its words.

Below the application nobody knows what a request holds: an exception of the server's protocol code, and asyncio's repr
of a task, may quote headers, cookies and queries. So no record made here shows a repr, or what an exception says.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
import traceback
from pathlib import Path
from ssl import SSLError
from typing import TYPE_CHECKING, Any

from quartblog.delivery import wordless

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

logger = logging.getLogger(__name__)

PAUSE = 60.0
"""Seconds between two lines about clients' faults: a flood of faults must not rotate the log away."""

# What asyncio and uvloop call what they report. Any other text may quote something, and is left out.
_WORDS = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending",
    "Exception in callback",
    "socket.accept() out of system resource",
)
# So begins what asyncio says when the server's own code for one connection failed.
_CONNECTION = ("Unhandled exception in client_connected_cb", "Fatal error", "SSL")


class ClientFaults:
    """Counts the connections that ended because their client broke the protocol."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing has happened yet."""
        self.count = 0
        self._clock = clock
        self._reported_at: float | None = None

    def note(self, error: BaseException) -> None:
        """Count one; at most once a minute, a line says how many there were."""
        self.count += 1
        now = self._clock()
        if self._reported_at is None or now - self._reported_at >= PAUSE:
            self._reported_at = now
            times = "once" if self.count == 1 else f"{self.count} times"
            logger.info("Clients broke the protocol (%s since the start), the last one at %s", times, _place(error))
        else:
            logger.debug("A client broke the protocol at %s", _place(error))


CLIENT_FAULTS = ClientFaults()
"""Those of this process."""


def handle(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Record what nobody awaited: a handler for `loop.set_exception_handler`."""
    error: BaseException | None = context.get("exception")
    if isinstance(error, SSLError | ConnectionError):
        return  # The client left, or offered no TLS that we take.
    said = str(context.get("message") or "")
    if error is not None and (said.startswith(_CONNECTION) or "transport" in context):
        CLIENT_FAULTS.note(error)
        return
    words = next((known for known in _WORDS if said.startswith(known)), "An exception outside of a request")
    # In no context: a finalizer runs inside whatever request is being answered just then.
    contextvars.Context().run(_log, words, error)


def install(loop: asyncio.AbstractEventLoop) -> Handler | None:
    """Handle the loop's exceptions from now on; return the handler before, to put it back."""
    before = loop.get_exception_handler()
    loop.set_exception_handler(handle)
    return before


def _log(words: str, error: BaseException | None) -> None:
    logger.error(words, exc_info=wordless(error) if error is not None else None)


def _place(error: BaseException) -> str:
    """`Type in package/module.py:line`, of the first of several failures."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    name = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{name} in {'/'.join(Path(frames[-1].filename).parts[-3:])}:{frames[-1].lineno}" if frames else name
