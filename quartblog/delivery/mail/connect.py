"""A mail server's name and port -> an open socket; a file of certificates -> a TLS context.

Daemon threads look up names and read files, because neither can be cancelled, and the interpreter's end joins the
threads of an executor, as asyncio's own `create_connection` uses them. So a resolver or a disk that does not answer
delays neither a stop nor the end of the program.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Found: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds an address has to answer before the next one is tried; a packet that was lost is repeated after 1 s."""
THREAD = "mail-look-up"
"""The name of the threads that wait for a resolver or a disk."""

_under_way: dict[tuple[int, str, int], Future[Sequence[Found]]] = {}


class CannotTrust(OSError):
    """The file of certificates cannot be used."""


async def connect(host: str, port: int) -> socket.socket:
    """Return a socket to the first address that answers. Raise OSError if none does. The caller sets a timeout."""
    found = await asyncio.wrap_future(_look_up(host, port))
    failures: list[OSError] = []
    for place, one in enumerate(_in_turn(found), start=1):
        try:
            async with asyncio.timeout(PATIENCE if place < len(found) else None):
                return await _open(one)
        except OSError as error:
            failures.append(error)
    # Silence says less than an answer.
    raise min(failures, key=lambda error: isinstance(error, TimeoutError))


async def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the authorities of the system and of the file. Raise CannotTrust."""
    return await asyncio.wrap_future(_begin(lambda: _read(ca_file)))


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
