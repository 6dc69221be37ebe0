"""Client bytes -> stricter versions of Hypercorn's connection classes -> requests, or a closed connection.

Hypercorn has no setting for these rules, so `install()` replaces its classes with subclasses, in the workers of
`quartblog run` and in those of plain Hypercorn. The subclasses use no private attribute of Hypercorn.

- The server closes the connection of a client that breaks the protocol. `faults` counts it; the log gets no error.
- Plain TCP speaks HTTP/1.1 only: the server ignores upgrades and refuses HTTP/2 by prior knowledge. Over TLS, ALPN
  decides.
- The server refuses a request head above `h11_max_incomplete_size`, even when it arrives in one piece.
- The server closes idle connections, including those that Hypercorn's own timer misses.
- A stop closes connections that are still open after `graceful_timeout`. From Python 3.12.1 on, Hypercorn alone would
  wait for them without a limit.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import h11
import hypercorn.asyncio.run
import hypercorn.protocol
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import EventWrapper, WorkerContext
from hypercorn.events import RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

from quartblog.serving.faults import CLIENT_FAULTS, STRAY, is_clients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypercorn.config import Config
    from hypercorn.events import Event

LOOK = 0.5
"""Seconds between two checks of all connections."""
SLACK = 1.0
"""Seconds after Hypercorn's idle timeout before ours closes the connection."""
STALL = 30.0
"""Seconds a client may read nothing of a waiting answer: a phone may lose its network that long."""
LAST_WORDS = 0.5
"""Seconds a cancelled request has to send its last page."""

# The application sets this header on every answer; Hypercorn's own answers lack it.
_MARK = b"content-security-policy"


def install(headers: Mapping[str, str]) -> None:
    """Make Hypercorn in this process use the classes of this module. Every answer carries `headers`."""
    _headers[:] = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    for (module, name), ours in REPLACED.items():
        setattr(module, name, ours)


_headers: list[tuple[bytes, bytes]] = []


class Http1(h11.Connection):
    """One HTTP/1.1 connection that checks request heads, and adds the required headers to Hypercorn's own answers."""

    def __init__(self, limit: int) -> None:
        """`limit`: the most bytes of request line and headers together."""
        super().__init__(h11.SERVER, max_incomplete_event_size=limit)
        self._limit = limit

    def next_event(self) -> Any:
        """Return the next event. Raise RemoteProtocolError for a refused request."""
        event = super().next_event()
        return self._checked(event) if type(event) is h11.Request else event

    def send(self, event: Any) -> Any:
        """Return the bytes of the event."""
        if isinstance(event, h11.Response) and not any(name == _MARK for name, _ in event.headers):
            event = h11.Response(
                status_code=event.status_code, reason=event.reason, headers=[*event.headers, *_headers]
            )
        return super().send(event)

    def _checked(self, request: h11.Request) -> h11.Request:
        names = set()
        size = len(request.method) + len(request.target)
        for name, value in request.headers:
            names.add(name)
            size += len(name) + len(value) + 4
        if size > self._limit:
            raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
        if request.http_version not in {b"1.1", b"1.0"}:
            raise h11.RemoteProtocolError("neither HTTP/1.1 nor 1.0", error_status_hint=505)
        if {b"content-length", b"transfer-encoding"} <= names:
            # RFC 9112, 6.1: a proxy in front of us may have used the other length (request smuggling).
            raise h11.RemoteProtocolError("two lengths of one body", error_status_hint=400)
        if b"upgrade" in names:
            # RFC 9110, 7.8: a server ignores an upgrade that it does not support, and answers the request.
            kept = [(name, value) for name, value in request.headers if name != b"upgrade"]
            request = h11.Request(
                method=request.method, target=request.target, headers=kept, http_version=request.http_version
            )
        return request


class Http1Protocol(H11Protocol):
    """Hypercorn's HTTP/1.1 over our h11 connection."""

    def __init__(self, app: Any, config: Config, *more: Any) -> None:
        """Take what Hypercorn gives its own class."""
        super().__init__(app, config, *more)
        self.connection = Http1(config.h11_max_incomplete_size)


class _Idle(Updated):
    """No stream is open. Hypercorn does not see this event: it may be unable to start its idle timer by then."""


class _Streams(dict[int, Any]):
    """The open streams by number. An unknown number is an answered stream, which discards further data."""

    def __missing__(self, number: int) -> _Answered:
        return _Answered()


class _Answered:
    async def handle(self, _event: object) -> None:
        """Discard data that arrives after the answer, which may precede the end of the request."""


class Http2Protocol(H2Protocol):
    """Hypercorn's HTTP/2 without its failure on data for a stream that was already answered."""

    def __init__(self, *arguments: Any) -> None:
        """Take what Hypercorn gives its own class."""
        super().__init__(*arguments)
        self.streams = _Streams()

    async def handle(self, event: Event) -> None:
        """Handle the event, and report idleness after a reset stream; Hypercorn reports it only after an answer."""
        await super().handle(event)
        if isinstance(event, RawData) and self.idle:
            await self.send(_Idle(idle=True))


class Connection(TCPServer):
    """One connection, which always ends; faults of its client are not recorded as errors."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop, config: Config, *more: Any) -> None:
        """Take what Hypercorn gives its own class."""
        super().__init__(app, loop, config, *more)
        self._task: asyncio.Task[Any] | None = None
        self._cut = False
        self._idle_since: float | None = loop.time()
        self._unsent = 0
        self._moved = self._closing_since = 0.0

    async def run(self) -> None:
        """Serve until either side closes the connection."""
        self._task = asyncio.current_task()
        connections: Connections = self.context  # type: ignore[assignment]  # see install()
        connections.add(self)
        try:
            await super().run()
        except asyncio.CancelledError:
            if not self._cut:
                raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the application has not raised it
            if is_clients(error):
                CLIENT_FAULTS.note(error)
            else:
                STRAY.record("The server failed at a connection", error)
        finally:
            connections.discard(self)

    async def protocol_send(self, event: Event) -> None:
        """Send the event, and note whether the connection is idle."""
        if isinstance(event, Updated):
            self._idle_since = self.loop.time() if event.idle else None
            if self._cut or isinstance(event, _Idle):
                return  # Hypercorn could no longer start its timer.
        await super().protocol_send(event)

    def look(self, now: float) -> None:
        """End the connection when it is idle, stalled or stuck while closing. The watch calls this twice a second."""
        transport = self.writer.transport
        size = _unsent(transport)
        if size != self._unsent:
            self._unsent, self._moved = size, now
        if size:
            # A client that reads some of its answer is active.
            ends = now - self._moved > STALL
        elif transport.is_closing():
            self._closing_since = self._closing_since or now
            ends = now - self._closing_since > self.config.keep_alive_timeout
        else:
            since = max(self._idle_since, self._moved) if self._idle_since is not None else now
            ends = now - since > self.config.keep_alive_timeout + SLACK
        if ends:
            transport.abort()
            # The application may still wait for the client that has left.
            self.cut()

    def cut(self) -> None:
        """Cancel the running request, once; the application may still send a last page."""
        if self._task is not None and not self._cut:
            self._cut = True
            self._task.cancel()


def _unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes of the answer that wait for the client."""
    try:
        return transport.get_write_buffer_size()
    except AttributeError:  # asyncio's TLS transport raises this once it has ended.
        return 0


class _Stop(EventWrapper):
    """The event that Hypercorn sets when a stop begins."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    async def set(self) -> None:
        await super().set()
        self._connections.stop()


class Connections(WorkerContext):
    """All connections of one worker."""

    def __init__(self, max_requests: int | None) -> None:
        """Start the watch, which runs until the loop ends."""
        super().__init__(max_requests)
        self.terminated = _Stop(self)
        self._open: set[Connection] = set()
        self._graceful = 0.0
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.create_task(self._look())

    def add(self, connection: Connection) -> None:
        """Watch the connection."""
        self._open.add(connection)
        self._graceful = connection.config.graceful_timeout

    def discard(self, connection: Connection) -> None:
        """Stop watching a connection that has ended."""
        self._open.discard(connection)

    def stop(self) -> None:
        """Cancel the requests that are still open after `graceful_timeout`, then close their connections."""
        self._loop.call_later(self._graceful, self._cut)
        self._loop.call_later(self._graceful + LAST_WORDS, self._abort)

    def _cut(self) -> None:
        for connection in tuple(self._open):
            connection.cut()

    def _abort(self) -> None:
        for connection in tuple(self._open):
            connection.writer.transport.abort()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            now = self._loop.time()
            for connection in tuple(self._open):
                try:
                    connection.look(now)
                except Exception as error:  # noqa: BLE001 - one odd transport must not end the watch of all others
                    STRAY.record("A connection could not be watched", error)


REPLACED: dict[tuple[Any, str], type] = {
    (hypercorn.asyncio.run, "TCPServer"): Connection,
    (hypercorn.asyncio.run, "WorkerContext"): Connections,
    (hypercorn.protocol, "H11Protocol"): Http1Protocol,
    (hypercorn.protocol, "H2Protocol"): Http2Protocol,
}
"""(module, name) where Hypercorn looks a class up -> our subclass."""
