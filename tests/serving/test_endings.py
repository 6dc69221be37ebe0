"""Every connection ends: one that does nothing, one that takes nothing, and every one when the site stops."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from quart import Quart, Response

from quartblog.serving import connections
from tests.serving.conftest import Site, Start
from tests.serving.test_noise import Http2, late_data

SILENT = {
    "nothing at all": b"",
    "half a line": b"GET /he",
    "half a head": b"GET /hello HTTP/1.1\r\nHost: blog.example\r\n",
    "a websocket of a wrong version": b"GET /hello HTTP/1.1\r\nHost: blog.example\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 5\r\nSec-WebSocket-Key: AAAA\r\n\r\n",
    "a websocket": b"GET /hello HTTP/1.1\r\nHost: blog.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "an upgrade to HTTP/2": b"GET /hello HTTP/1.1\r\nHost: blog.example\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT blog.example:443 HTTP/1.1\r\nHost: blog.example\r\n\r\n",
    "a request that was answered": b"GET /hello HTTP/1.1\r\nHost: blog.example\r\n\r\n",
    "a HEAD that was answered": b"HEAD /hello HTTP/1.1\r\nHost: blog.example\r\n\r\n",
    "an expectation": b"POST /nowhere HTTP/1.1\r\nHost: blog.example\r\nContent-Length: 9\r\n"
    b"Expect: 100-continue\r\n\r\n",
    "a body that never comes, for nobody": b"POST /nowhere HTTP/1.1\r\nHost: blog.example\r\nContent-Length: 9\r\n\r\n",
}
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("sent", SILENT.values(), ids=SILENT.keys())
@pytest.mark.parametrize("tls", [(), ("http/1.1",)], ids=["plain", "TLS"])
async def test_a_connection_that_does_nothing_is_closed(start: Start, tls: tuple[str, ...], sent: bytes) -> None:
    site = await start(tls=tls, keep_alive_timeout=0.2)
    wire = await site.connect()
    await wire.send(sent)

    # Nothing here is closed by the client. Five times as long as it may take, for a busy machine.
    await wire.rest(patience=10)


async def test_an_http_2_connection_that_does_nothing_is_closed(start: Start) -> None:
    site = await start(tls=("h2",), keep_alive_timeout=0.2)
    wire = await site.connect("h2")
    await wire.send(_PREFACE)

    await wire.rest(patience=10)


async def test_an_http_2_request_that_was_taken_back_leaves_no_connection_open(start: Start) -> None:
    site = await start(tls=("h2",), keep_alive_timeout=0.2)
    client = Http2(await site.connect("h2"))
    client.request(1, path="/login")
    await client.flush()
    client.connection.reset_stream(1)
    await client.flush()

    await client.wire.rest(patience=10)


async def test_a_slow_client_gets_its_whole_answer(start: Start) -> None:
    # So short that the server hands it over at once and may take the connection for idle.
    page = b"a" * 60_000

    def prepare(app: Quart) -> None:
        @app.get("/long")
        async def long() -> bytes:
            return page

    # Both buffers are so small that most of the page waits in the server.
    site = await start(prepare=prepare, keep_alive_timeout=0.2, unsent=4096)

    async def read_slowly(connection: bytes) -> None:
        with socket.socket() as reading:
            reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reading.settimeout(30)
            await asyncio.to_thread(reading.connect, ("127.0.0.1", site.port))
            reading.sendall(b"GET /long HTTP/1.1\r\nHost: blog.example\r\nConnection: %s\r\n\r\n" % connection)
            received = b""
            while len(received) < len(page):
                chunk = await asyncio.to_thread(reading.recv, 20_000)
                assert chunk, f"{connection!r}: cut off after {len(received)} bytes"
                received += chunk
                # All pieces together take twice as long as a connection may do nothing.
                await asyncio.sleep(0.3)

    await asyncio.gather(read_slowly(b"close"), read_slowly(b"keep-alive"))


async def test_a_client_that_never_agrees_on_tls_is_dropped(start: Start) -> None:
    site = await start(tls=("http/1.1",), ssl_handshake_timeout=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)

    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    assert " ERROR: " not in await site.log()


async def test_a_client_that_takes_nothing_of_its_answers_is_dropped(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALL", 0.2)
    left = asyncio.Event()
    site = await start(prepare=lambda app: add_endless(app, left))
    wire = await site.connect()

    # It reads nothing: at some point the server cannot send more.
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await wire.send(b"GET /endless HTTP/1.1\r\nHost: blog.example\r\n\r\n")

    async with asyncio.timeout(20):
        await left.wait()
    assert " ERROR: " not in await site.log()


def add_endless(app: Quart, left: asyncio.Event | None = None) -> None:
    """Add /endless, an answer that goes on for ever, and /slow, one that is not given before its body is there."""

    @app.get("/endless")
    async def endless() -> Response:
        async def body() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"a" * 65536
                    await asyncio.sleep(0)
            finally:
                if left is not None:
                    left.set()

        return without_bound(body())

    @app.get("/events")
    async def events() -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            await asyncio.Event().wait()

        return without_bound(body())

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.Event().wait()
        return "never"


def without_bound(body: AsyncIterator[bytes]) -> Response:
    """An answer that may take as long as it likes."""
    response = Response(body)
    response.timeout = None
    return response


async def asked(site: Site, path: str, until: bytes = b"") -> Any:
    """A connection with an open request."""
    wire = await site.connect()
    await wire.send(b"GET %s HTTP/1.1\r\nHost: blog.example\r\nAccept-Language: en\r\n\r\n" % path.encode())
    if until:
        await wire.reader.readuntil(until)
    else:
        # Answered behind it by the same loop: by then the first one is in its view.
        await site.get()
    return wire


async def test_a_stop_ends_an_answer_that_goes_on_for_ever(start: Start) -> None:
    site = await start(prepare=add_endless)
    wire = await asked(site, "/events", until=b"first")

    assert await site.end() < 5

    await wire.rest()
    log = await site.log()
    assert " ERROR: " not in log


async def test_a_request_that_a_stop_cuts_off_is_answered_503_and_recorded_nowhere(start: Start) -> None:
    site = await start(prepare=add_endless)
    wire = await asked(site, "/slow")

    assert await site.end() < 5

    answer = (await wire.rest()).decode()
    head, _, page = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 503")
    assert "retry-after: 10" in head
    assert "content-security-policy: " in head
    assert '<html lang="en">' in page
    assert "<h1>Temporarily unavailable</h1>" in page
    assert " ERROR: " not in await site.log()


@pytest.mark.parametrize("sent", [b"", b"GET /he", _PREFACE], ids=["nothing", "half a line", "a preface"])
async def test_a_stop_waits_for_nobody_who_does_nothing(start: Start, sent: bytes) -> None:
    site = await start(keep_alive_timeout=60)
    wire = await site.connect()
    await wire.send(sent)

    assert await site.end() < 5


async def test_a_stop_ends_http_2_streams_too(start: Start) -> None:
    site = await start(tls=("h2", "http/1.1"), prepare=add_endless)
    client = Http2(await site.connect("h2"))
    await late_data(client)
    client.request(5, "GET", "/slow", end=True)
    await client.flush()

    assert await site.end() < 5
    assert " ERROR: " not in await site.log()
