"""A mail server's name and port -> an open socket.

Daemon threads look up names, because `getaddrinfo` cannot be cancelled and the interpreter's end joins the threads of
an executor. So a resolver that does not answer delays neither a stop nor the end of the program.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Found: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]

T = TypeVar("T")

HEAD_START = 0.25
"""Seconds an address has to answer before the next one is tried beside it (RFC 8305)."""
THREAD = "mail-look-up"
"""The name of the threads that wait for a resolver or a disk."""

_under_way: dict[tuple[int, str, int], Future[Sequence[Found]]] = {}


async def connect(host: str, port: int) -> socket.socket:
    """Return a socket to the first address that answers. Raise OSError if none does. The caller sets a timeout."""
    found = await asyncio.wrap_future(_look_up(host, port))
    failures: list[OSError] = []
    attempts: set[asyncio.Task[socket.socket]] = set()
    try:
        for one in _in_turn(found):
            attempts.add(asyncio.create_task(_open(one)))
            if (opened := await _first(attempts, failures, HEAD_START)) is not None:
                return opened
        while attempts:
            if (opened := await _first(attempts, failures, None)) is not None:
                return opened
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close)
            attempt.cancel()
    raise failures[0] if failures else socket.gaierror(socket.EAI_NONAME, "no address")


async def in_thread(work: Callable[[], T]) -> T:
    """Run a function that may wait for a disk in a daemon thread, and return its result."""
    return await asyncio.wrap_future(_begin(work))


def _begin(work: Callable[[], T]) -> Future[T]:
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # A caller that stops waiting must not cancel it for others.

    def do() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001  the caller that waits raises it
            outcome.set_exception(error)

    threading.Thread(target=do, name=THREAD, daemon=True).start()
    return outcome


def _look_up(host: str, port: int) -> Future[Sequence[Found]]:
    """Look up a name, once at a time: a resolver that hangs takes one thread, however often a mail is tried."""
    key = (os.getpid(), host, port)  # A forked child has none of its parent's threads.
    if (looking := _under_way.get(key)) is None:
        looking = _under_way[key] = _begin(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        looking.add_done_callback(lambda _: _under_way.pop(key, None))
    return looking


def _in_turn(found: Sequence[Found]) -> Iterator[Found]:
    """Yield addresses of both families by turns, so that a family that does not work costs one attempt."""
    preferred = [one for one in found if one[0] == found[0][0]]
    others = [one for one in found if one[0] != found[0][0]]
    return (one for pair in itertools.zip_longest(preferred, others) for one in pair if one is not None)


async def _open(found: Found) -> socket.socket:
    family, kind, protocol, _, address = found
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setblocking(False)  # noqa: FBT003  the standard library's
        await asyncio.get_running_loop().sock_connect(opened, address)
    except BaseException:
        opened.close()
        raise
    return opened


def _close(attempt: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that was slower than another."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _first(
    attempts: set[asyncio.Task[socket.socket]], failures: list[OSError], seconds: float | None
) -> socket.socket | None:
    """Return the socket of an attempt that succeeds within the seconds; move failed attempts to `failures`."""
    done, _ = await asyncio.wait(attempts, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for attempt in done:
        if not isinstance(error := attempt.exception(), OSError):
            attempts.discard(attempt)
            return attempt.result()
        attempts.discard(attempt)
        failures.append(error)
    return None
