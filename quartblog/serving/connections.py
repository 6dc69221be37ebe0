"""Hypercorn's connections, held to what the site promises about clients that break the protocol, or do nothing.

Hypercorn has a setting for none of this, so subclasses stand where it looks its classes up, see `install()`: in the
workers of `quartblog run` and in those of plain Hypercorn. None of them touches a private attribute.

- A client that breaks the protocol loses its connection and is counted (`faults`); the site records no error.
- HTTP/1.1 only, over plain TCP: no upgrade of any kind, and no HTTP/2 by prior knowledge. Over TLS, ALPN decides.
- A head above `h11_max_incomplete_size` is refused, also when it comes in one piece.
- A connection that does nothing ends, whatever Hypercorn's own timer knows.
- A stop cuts what is still open after `graceful_timeout`. From Python 3.12.1 on Hypercorn waits for it without a bound.
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
"""Seconds between two looks at all connections."""
SLACK = 1.0
"""Seconds Hypercorn's own idle timer has, before ours ends a connection."""
STALL = 30.0
"""Seconds a client may take nothing of an answer that waits for it: as long as a phone may be without a network."""
LAST_WORDS = 0.5
"""Seconds a cut request has to send its last page."""

# The header that every answer of the application has, and none of the server's own.
_MARK = b"content-security-policy"


def install(headers: Mapping[str, str]) -> None:
    """Let Hypercorn make these from now on, in this process. `headers`: what no answer may lack."""
    _headers[:] = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    for (module, name), ours in REPLACED.items():
        setattr(module, name, ours)


_headers: list[tuple[bytes, bytes]] = []


class Http1(h11.Connection):
    """One HTTP/1.1 connection that checks requests as they arrive, and completes the server's own answers."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of request line and headers together."""
        super().__init__(h11.SERVER, max_incomplete_event_size=limit)
        self._limit = limit

    def next_event(self) -> Any:
        """Return the next event. Raise RemoteProtocolError for a request that is refused here."""
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
            # RFC 9112, 6.1: a proxy before us may have read another length than we would.
            raise h11.RemoteProtocolError("two lengths of one body", error_status_hint=400)
        if b"upgrade" in names:
            # RFC 9110, 7.8: an upgrade that is not supported is ignored, and the request answered.
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
    """Nothing is open: for our own watch. Hypercorn's timer may not be startable any more."""


class _Streams(dict[int, Any]):
    """The open streams; one that was answered already takes in what still comes for it."""

    def __missing__(self, number: int) -> _Answered:
        return _Answered()


class _Answered:
    async def handle(self, _event: object) -> None:
        """Pass it by: an answer may be sent before the whole request was read."""


class Http2Protocol(H2Protocol):
    """Hypercorn's HTTP/2, which otherwise ends the connection when data arrives for a stream that was answered."""

    def __init__(self, *arguments: Any) -> None:
        """Take what Hypercorn gives its own class."""
        super().__init__(*arguments)
        self.streams = _Streams()

    async def handle(self, event: Event) -> None:
        """As Hypercorn, and say when nothing is open: it says so for answers, and not for streams that were reset."""
        await super().handle(event)
        if isinstance(event, RawData) and self.idle:
            await self.send(_Idle(idle=True))


class Connection(TCPServer):
    """One connection: it always ends, and its client's faults are not recorded as errors."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop, config: Config, *more: Any) -> None:
        """Take what Hypercorn gives its own class."""
        super().__init__(app, loop, config, *more)
        self._task: asyncio.Task[Any] | None = None
        self._cut = False
        self._idle_since: float | None = loop.time()
        self._unsent = 0
        self._moved = self._closing_since = 0.0

    async def run(self) -> None:
        """Serve until it is closed, by whomever."""
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
        """As Hypercorn, and note whether a request is being answered."""
        if isinstance(event, Updated):
            self._idle_since = self.loop.time() if event.idle else None
            if self._cut or isinstance(event, _Idle):
                return  # No timer can be started any more.
        await super().protocol_send(event)

    def look(self, now: float) -> None:
        """End the connection where nothing moves. Called twice a second."""
        transport = self.writer.transport
        size = _unsent(transport)
        if size != self._unsent:
            self._unsent, self._moved = size, now
        if size:
            # As long as it takes some of its answer, it does something.
            ends = now - self._moved > STALL
        elif transport.is_closing():
            self._closing_since = self._closing_since or now
            ends = now - self._closing_since > self.config.keep_alive_timeout
        else:
            since = max(self._idle_since, self._moved) if self._idle_since is not None else now
            ends = now - since > self.config.keep_alive_timeout + SLACK
        if ends:
            transport.abort()
            # Also the application may wait, for a client that has left.
            self.cut()

    def cut(self) -> None:
        """End what is being answered: the application is cancelled, once, and may send a last page."""
        if self._task is not None and not self._cut:
            self._cut = True
            self._task.cancel()


def _unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes of the answer that wait for the client."""
    try:
        return transport.get_write_buffer_size()
    except AttributeError:  # A TLS transport of asyncio's that has ended.
        return 0


class _Stop(EventWrapper):
    """Hypercorn sets it when a stop begins."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    async def set(self) -> None:
        await super().set()
        self._connections.stop()


class Connections(WorkerContext):
    """All connections of one worker."""

    def __init__(self, max_requests: int | None) -> None:
        """Watch from now on, until the loop ends."""
        super().__init__(max_requests)
        self.terminated = _Stop(self)
        self._open: set[Connection] = set()
        self._graceful = 0.0
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.create_task(self._look())

    def add(self, connection: Connection) -> None:
        """Watch one more."""
        self._open.add(connection)
        self._graceful = connection.config.graceful_timeout

    def discard(self, connection: Connection) -> None:
        """Forget one that has ended."""
        self._open.discard(connection)

    def stop(self) -> None:
        """Let open requests go on for `graceful_timeout`, then cut them."""
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
                except Exception as error:  # noqa: BLE001 - one odd transport must not end the watch over all others
                    STRAY.record("A connection could not be watched", error)


REPLACED: dict[tuple[Any, str], type] = {
    (hypercorn.asyncio.run, "TCPServer"): Connection,
    (hypercorn.asyncio.run, "WorkerContext"): Connections,
    (hypercorn.protocol, "H11Protocol"): Http1Protocol,
    (hypercorn.protocol, "H2Protocol"): Http2Protocol,
}
"""Where Hypercorn looks its classes up, and ours."""
