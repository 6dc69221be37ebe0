"""Exceptions outside of any request -> a count of clients' protocol faults, or an error record without the message.

Redaction works per request and cannot help here. An exception of the protocol code, or asyncio's repr of a task, may
quote headers, cookies and queries. So the records of this module leave out every repr and every exception message.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
import time
from pathlib import Path
from ssl import SSLError
from typing import TYPE_CHECKING, Any

from quartblog.delivery.tools import reraise_interrupt, wordless

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

logger = logging.getLogger(__name__)

# Read with this and with type(): an exception class may define a property that raises.
_TRACEBACK = BaseException.__dict__["__traceback__"]
PAUSE = 60.0
"""Seconds between two log lines of one kind: a flood of them must not rotate the log away."""

# Messages of asyncio and uvloop that quote nothing. The record leaves out any other message.
_WORDS = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending",
    "Exception in callback",
    "socket.accept() out of system resource",
)
# Marks of a connection that failed in the server's own code: the message, or the class of the failing protocol.
_CONNECTION = "Unhandled exception in client_connected_cb"
_PROTOCOLS = {"StreamReaderProtocol", "SSLProtocol"}
_READERS = re.compile(r"[\\/](?:h11|h2|hpack|hyperframe|priority|hypercorn)[\\/]")
_KINDS = 100
"""The most kinds that Stray counts separately; beyond it, kinds ignore the place of the exception."""


class ClientFaults:
    """Counts the connections that ended because their client broke the protocol."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with a count of zero."""
        self.count = 0
        self._clock = clock
        self._reported_at: float | None = None

    def note(self, error: BaseException) -> None:
        """Count one fault; log the total at most once a minute."""
        self.count += 1
        now = self._clock()
        if self._reported_at is None or now - self._reported_at >= PAUSE:
            self._reported_at = now
            times = "once" if self.count == 1 else f"{self.count} times"
            logger.info("Clients broke the protocol (%s since the start), the last one at %s", times, _place(error))
        elif logger.isEnabledFor(logging.DEBUG):
            logger.debug("A client broke the protocol at %s", _place(error))


CLIENT_FAULTS = ClientFaults()
"""The faults of this process."""


class Stray:
    """Logs exceptions that nobody awaited: the first of a kind at once, then at most one a minute, with a count.

    A system that is out of file descriptors raises thousands of them a second.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no known kind."""
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}

    def record(self, words: str, error: BaseException | None) -> None:
        """Log `words` and the traceback, without the exception's message."""
        kind = words if error is None else f"{words}: {_place(error)}"
        if kind not in self._kinds and len(self._kinds) >= _KINDS:
            kind = words
        now = self._clock()
        said_at, more = self._kinds.get(kind, (now - PAUSE, 0))
        if now - said_at < PAUSE:
            self._kinds[kind] = said_at, more + 1
            return
        self._kinds[kind] = now, 0
        times = f" ({more} more since the last such line)" if more else ""
        # In an empty context: a finalizer runs inside an unrelated request, whose id the record must not carry.
        contextvars.Context().run(_log, words, times, error)


STRAY = Stray()
"""The stray exceptions of this process."""


def handle(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log or count an exception that nobody awaited; for `loop.set_exception_handler`."""
    try:
        error: BaseException | None = context.get("exception")
        said = str(context.get("message") or "")
        if said.startswith(_CONNECTION) or type(context.get("protocol")).__name__ in _PROTOCOLS:
            # Not even counted: the client left, or its TLS handshake failed.
            if error is not None and not issubclass(type(error), SSLError | ConnectionError):
                CLIENT_FAULTS.note(error)
            return
        STRAY.record(next(filter(said.startswith, _WORDS), "An exception outside of a request"), error)
    except BaseException as failure:  # noqa: BLE001 - any operation on a foreign exception may raise
        reraise_interrupt(failure)
        STRAY.record("An exception outside of a request could not be recorded", None)


def install(loop: asyncio.AbstractEventLoop) -> Handler | None:
    """Install `handle` in the loop. Return the previous handler, so that the caller can restore it."""
    before = loop.get_exception_handler()
    loop.set_exception_handler(handle)
    return before


def _log(words: str, times: str, error: BaseException | None) -> None:
    # The count is an argument, so that all records of one kind fall into one group.
    logger.error("%s%s", words, times, exc_info=wordless(error) if error is not None else None)


def is_clients(error: BaseException) -> bool:
    """Whether code that reads a network protocol raised it, which makes it the client's fault."""
    if issubclass(type(error), BaseExceptionGroup):
        return all(map(is_clients, error.exceptions))  # type: ignore[attr-defined]  # see the line before
    if issubclass(type(error), SSLError | ConnectionError):
        return True
    return _READERS.search(_innermost(error)[0]) is not None


def _place(error: BaseException) -> str:
    """Return `Type in package/module.py:line`; of a group, its first member's."""
    while issubclass(type(error), BaseExceptionGroup):
        error = error.exceptions[0]  # type: ignore[attr-defined]  # see the line before
    path, line = _innermost(error)
    return f"{type(error).__name__} in {'/'.join(Path(path).parts[-3:])}:{line}" if path else type(error).__name__


def _innermost(error: BaseException) -> tuple[str, int | None]:
    """Return file and line of the raise. `traceback` would read the source file, and clients choose how often."""
    step: TracebackType | None = _TRACEBACK.__get__(error)
    if step is None:
        return "", None
    while step.tb_next is not None:
        step = step.tb_next
    return step.tb_frame.f_code.co_filename, step.tb_lineno
