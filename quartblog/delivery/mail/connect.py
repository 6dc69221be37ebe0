"""A mail server's name and port -> an open socket; a file of certificates -> a TLS context.

Daemon threads look up names and read files, because neither can be cancelled, and the interpreter's end joins the
threads of an executor, as asyncio's own `create_connection` uses them. So a resolver or a disk that does not answer
delays neither a stop nor the end of the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
    from pathlib import Path

    Found: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]

T = TypeVar("T")

PATIENCE = 0.25
"""Seconds an address has to answer before the next one is tried beside it: the delay that RFC 8305 recommends."""
SILENCE = 5.0
"""Seconds the other addresses have to answer once one has refused the connection."""
THREAD = "mail-look-up"
"""The name of the threads that wait for a resolver or a disk."""

_under_way: dict[Hashable, Future[Any]] = {}


class CannotTrust(OSError):
    """The file of certificates cannot be used."""


async def connect(host: str, port: int) -> socket.socket:
    """Return a socket to the first address that answers. Raise OSError if none does. The caller sets a timeout."""
    waiting = [*_in_turn(await asyncio.wrap_future(_look_up(host, port)))]
    attempts: set[asyncio.Task[socket.socket]] = set()
    failure: OSError | None = None
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.create_task(_open(waiting.pop(0))))
            # An earlier attempt goes on beside the next one: its server may be slow rather than away.
            silence = PATIENCE if waiting else SILENCE if failure else None
            ended, attempts = await asyncio.wait(attempts, timeout=silence, return_when=asyncio.FIRST_COMPLETED)
            if not ended and not waiting:
                break  # An answer says more than the silence of the others.
            opened = [attempt for attempt in ended if attempt.exception() is None]
            if opened:
                attempts.update(opened[1:])
                return opened[0].result()
            for attempt in ended:
                failure = _refusal(attempt)
    finally:
        await _abandon(attempts)
    raise failure or OSError(f"{host} has no address")


async def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the authorities of the system and of the file. Raise CannotTrust."""
    return await asyncio.wrap_future(_once(("trust", str(ca_file)), lambda: _read(ca_file)))


def _read(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError.
            raise CannotTrust(f"the certificates in ca_file, {ca_file}, cannot be used: {error}") from error
    return context


def _begin(work: Callable[[], T]) -> Future[T]:
    """Begin the work in a daemon thread."""
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
    return _once((host, port), lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _once(what: Hashable, work: Callable[[], T]) -> Future[T]:
    """Begin the work, unless it is under way: a resolver or disk that hangs takes one thread, not one a try."""
    key = (os.getpid(), what)  # A forked child has none of its parent's threads.
    if (outcome := _under_way.get(key)) is None:
        outcome = _under_way[key] = _begin(work)
        outcome.add_done_callback(lambda _: _under_way.pop(key, None))
    return outcome


def _refusal(attempt: asyncio.Task[socket.socket]) -> OSError:
    """Return why an attempt failed. Raise anything that is not an OSError."""
    try:
        attempt.result().close()
    except OSError as error:
        return error
    raise AssertionError("the attempt did not fail")


async def _abandon(attempts: Collection[asyncio.Task[socket.socket]]) -> None:
    """End attempts that nobody waits for, and close what they have opened."""
    for attempt in attempts:
        attempt.cancel()
    for attempt in attempts:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            (await attempt).close()


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
