"""SMTP session on a free port of this machine -> a list of accepted mails, with delays if the plan asks for them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Sleep = Callable[[float], Awaitable[None]]

MAIL_LIMIT = 16 * 1024 * 1024
"""Bytes of one mail, far more than a digest."""


class Taken(NamedTuple):
    """One accepted mail."""

    at: float
    """Epoch seconds of the acknowledgement."""
    data: bytes


class RehearsalServer:
    """Runs in a separate thread during the block; it speaks minimal SMTP without TLS and authentication."""

    def __init__(self, *, delay: float = 0.0, down: float = 0.0, sleep: Sleep = asyncio.sleep) -> None:
        """`delay`: seconds before each acknowledgement. `down`: seconds after `open` without connections."""
        self._delay = delay
        self._down = down
        self._sleep = sleep
        self._taken: list[Taken] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="rehearsal-mail-server", daemon=True)
        # Bound without listening: no other program gets the port, and the system refuses connections.
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def taken(self) -> list[Taken]:
        """Return the mails acknowledged so far, in order."""
        return list(self._taken)

    def open(self) -> None:
        """Accept connections from now on, or after `down` seconds."""
        listening = threading.Event()
        serving = asyncio.run_coroutine_threadsafe(self._serve(listening), self._loop)
        serving.add_done_callback(lambda _: listening.set())
        if not self._down:
            listening.wait()

    def __enter__(self) -> Self:
        """Start the thread; the server refuses connections until `open`."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        self._loop.run_forever()
        for task in (tasks := asyncio.all_tasks(self._loop)):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, listening: threading.Event) -> None:
        if self._down:
            await self._sleep(self._down)
        async with await asyncio.start_server(self._converse, sock=self._socket, limit=MAIL_LIMIT) as server:
            listening.set()
            await server.serve_forever()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 rehearsal\r\n")
            while line := await reader.readline():
                command = line[:4].upper()
                if command == b"DATA":
                    writer.write(b"354 go on\r\n")
                    data = await reader.readuntil(b"\r\n.\r\n")
                    await self._sleep(self._delay)
                    self._taken.append(Taken(time.time(), data))
                writer.write(_ANSWERS.get(command, b"250 yes\r\n"))
                await writer.drain()
                if command == b"QUIT":
                    return
        except (OSError, EOFError):
            pass  # The client closed the connection.
        finally:
            writer.close()


_ANSWERS = {b"QUIT": b"221 bye\r\n", b"DATA": b"250 taken by the rehearsal\r\n", b"AUTH": b"502 not here\r\n"}
