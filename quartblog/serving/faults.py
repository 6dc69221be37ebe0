"""Exceptions outside of every request -> a count for protocol faults of clients, else a record without their words.

Below the application nobody knows what a request holds: an exception of the server's protocol code, and asyncio's repr
of a task, may quote headers, cookies and queries. So no record made here shows a repr, or what an exception says.
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

from quartblog.delivery import wordless
from quartblog.delivery.interrupts import reraise_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

logger = logging.getLogger(__name__)

# By this and by type(): an exception may have a property of its own that raises.
_TRACEBACK = BaseException.__dict__["__traceback__"]
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
# The server's own code for one connection failed: what it says then, and whose the failing protocol is.
_CONNECTION = "Unhandled exception in client_connected_cb"
_PROTOCOLS = {"StreamReaderProtocol", "SSLProtocol"}
_READERS = re.compile(r"[\\/](?:h11|h2|hpack|hyperframe|priority|hypercorn)[\\/]")
_KINDS = 100
"""Kinds of exceptions outside of a request that are told apart."""


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
        elif logger.isEnabledFor(logging.DEBUG):
            logger.debug("A client broke the protocol at %s", _place(error))


CLIENT_FAULTS = ClientFaults()
"""Those of this process."""


class Stray:
    """Records exceptions that nobody awaited: the first of a kind at once, then at most one a minute, with a count.

    A system that is out of descriptors makes thousands a second of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing has happened yet."""
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}

    def record(self, words: str, error: BaseException | None) -> None:
        """Record one, without what it says."""
        kind = words if error is None else f"{words}: {_place(error)}"
        if kind not in self._kinds and len(self._kinds) >= _KINDS:
            kind = words
        now = self._clock()
        said_at, more = self._kinds.get(kind, (now - PAUSE, 0))
        if now - said_at < PAUSE:
            self._kinds[kind] = said_at, more + 1
            return
        self._kinds[kind] = now, 0
        times = f" ({more} more since the last of these)" if more else ""
        # In no context: a finalizer runs inside whatever request is being answered just then.
        contextvars.Context().run(_log, words, times, error)


STRAY = Stray()
"""Those of this process."""


def handle(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Record what nobody awaited: a handler for `loop.set_exception_handler`."""
    try:
        error: BaseException | None = context.get("exception")
        said = str(context.get("message") or "")
        if said.startswith(_CONNECTION) or type(context.get("protocol")).__name__ in _PROTOCOLS:
            # Of these two not even the count matters: the client left, or offered no TLS that we take.
            if error is not None and not issubclass(type(error), SSLError | ConnectionError):
                CLIENT_FAULTS.note(error)
            return
        STRAY.record(next(filter(said.startswith, _WORDS), "An exception outside of a request"), error)
    except BaseException as failure:  # noqa: BLE001 - an exception may raise from all that is asked of it
        reraise_interrupt(failure)
        STRAY.record("An exception outside of a request could not be recorded", None)


def install(loop: asyncio.AbstractEventLoop) -> Handler | None:
    """Handle the loop's exceptions from now on; return the handler before, to put it back."""
    before = loop.get_exception_handler()
    loop.set_exception_handler(handle)
    return before


def _log(words: str, times: str, error: BaseException | None) -> None:
    # One group for each of the words, whatever the count.
    logger.error("%s%s", words, times, exc_info=wordless(error) if error is not None else None)


def is_clients(error: BaseException) -> bool:
    """Whether the code that reads a protocol has raised it, and so the one who speaks it is to blame."""
    if issubclass(type(error), BaseExceptionGroup):
        return all(map(is_clients, error.exceptions))  # type: ignore[attr-defined]  # see the line before
    if issubclass(type(error), SSLError | ConnectionError):
        return True
    return _READERS.search(_innermost(error)[0]) is not None


def _place(error: BaseException) -> str:
    """`Type in package/module.py:line`, of the first of several failures."""
    while issubclass(type(error), BaseExceptionGroup):
        error = error.exceptions[0]  # type: ignore[attr-defined]  # see the line before
    path, line = _innermost(error)
    return f"{type(error).__name__} in {'/'.join(Path(path).parts[-3:])}:{line}" if path else type(error).__name__


def _innermost(error: BaseException) -> tuple[str, int | None]:
    """Where it was raised. Not by `traceback`, which reads the source for that: clients choose how often this runs."""
    step: TracebackType | None = _TRACEBACK.__get__(error)
    if step is None:
        return "", None
    while step.tb_next is not None:
        step = step.tb_next
    return step.tb_frame.f_code.co_filename, step.tb_lineno
