"""What clients do wrong ends their connection, is counted, and leaves no error, no mail and nothing they sent."""

import asyncio
import gc
import os
import ssl
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import pytest
from quart import Quart

from quartblog.serving import connections, faults
from quartblog.web.headers import SECURITY_HEADERS
from tests.serving.conftest import Site, Start, Wire
from tests.support.noise import CANARIES, WRONG

ALPN = {"plain": (), "TLS": ("http/1.1",), "HTTP/2 offered": ("h2", "http/1.1")}


async def assert_unharmed(site: Site) -> None:
    """The site answers, and nothing a client sent is in its records, none of which is an error."""
    assert b" 200 " in await site.get()
    log = await site.log()
    assert " ERROR: " not in log
    assert not [canary for canary in CANARIES if canary in log]
    assert len(log) < 20_000


@pytest.mark.parametrize("protocol", ALPN)
async def test_what_a_client_sends_wrong_is_no_error_of_the_site(
    start: Start, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = await start(tls=ALPN[protocol], keep_alive_timeout=0.2)
    for request in WRONG.values():
        gone, patient = await site.connect(), await site.connect()
        for wire in (gone, patient):
            await wire.send(request)
        gone.close()
        patient.writer.write_eof() if patient.writer.can_write_eof() else patient.close()

    await asyncio.gather(*(wire.rest() for wire in site.clients))

    await assert_unharmed(site)
    assert not [canary for canary in CANARIES if canary in caplog.text]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("an upgrade to HTTP/2", 404),
        ("HTTP/2 by prior knowledge", 505),
        ("a websocket of a wrong version", 404),
        ("a websocket", 404),
        ("CONNECT", 404),
        ("two lengths", 400),
        ("an unknown encoding", 501),
        ("a head of 20 KB in one piece", 431),
        ("an address of 20 KB", 431),
        ("a head without an end", 431),
        ("another protocol", 400),
    ],
)
async def test_what_the_server_itself_answers_has_every_security_header_and_ends(
    start: Start, name: str, status: int
) -> None:
    site = await start(keep_alive_timeout=0.2)

    answer = await site.ask(WRONG[name])

    head = answer.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
    assert head[0].startswith(f"http/1.1 {status}")
    for header, value in SECURITY_HEADERS.items():
        assert head.count(f"{header}: {value}".lower()) == 1


async def test_random_bytes_are_no_error_either(start: Start) -> None:
    site = await start()
    for number in range(100):
        wire = await site.connect()
        await wire.send((b"", b"GET / HTTP/1.1\r\n")[number % 2] + os.urandom(number * 3))
        wire.close()

    await assert_unharmed(site)


class Http2:
    """A client that speaks HTTP/2 as wrongly as it likes."""

    def __init__(self, wire: Wire) -> None:
        settings = h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.wire = wire
        self.connection = h2.connection.H2Connection(settings)
        self.connection.initiate_connection()

    def request(self, stream: int, method: str = "POST", path: str | None = "/nowhere", *, end: bool = False) -> None:
        headers = [(":method", method), (":scheme", "https"), (":authority", "blog.example")]
        if path is not None:
            headers.append((":path", f"{path}?canary-query-4711"))
        headers += [("cookie", "a=canary-cookie-4711"), ("authorization", "Bearer canary-token-4711")]
        self.connection.send_headers(stream, headers, end_stream=end)

    async def flush(self) -> None:
        await self.wire.send(self.connection.data_to_send())

    async def answered(self, stream: int) -> None:
        """Wait for the whole answer."""
        ended = False
        async with asyncio.timeout(10):
            while not ended:
                data = await self.wire.reader.read(65536)
                assert data, "the connection was closed"
                for event in self.connection.receive_data(data):
                    ended = ended or (isinstance(event, h2.events.StreamEnded) and event.stream_id == stream)


async def early_answer(client: Http2) -> None:
    client.request(1)
    await client.flush()
    await client.answered(1)
    client.connection.send_data(1, b"a" * 200, end_stream=True)
    await client.flush()


async def late_data(client: Http2) -> None:
    client.request(1, path="/login")
    client.request(3)
    await client.flush()
    await client.answered(3)
    client.connection.send_data(3, b"late")
    await client.flush()


async def bad_path(client: Http2) -> None:
    client.request(1, "GET", "/caf\u00e9", end=True)
    await client.flush()


async def bad_method(client: Http2) -> None:
    client.request(1, "G\u00cbT", "/hello", end=True)
    await client.flush()


async def connect_without_path(client: Http2) -> None:
    client.request(1, "CONNECT", None, end=True)
    await client.flush()


async def priorities(client: Http2) -> None:
    for number in range(1_200):
        client.connection.prioritize(2 * number + 1, weight=5)
    await client.flush()


async def reset(client: Http2) -> None:
    client.request(1, path="/login")
    client.connection.reset_stream(1)
    await client.flush()


async def garbage(client: Http2) -> None:
    await client.flush()
    await client.wire.send(b"canary-token-4711" * 50)


@pytest.mark.parametrize(
    "speak",
    [early_answer, late_data, bad_path, bad_method, connect_without_path, priorities, reset, garbage],
    ids=lambda speak: speak.__name__,
)
async def test_http_2_that_is_asked_for_makes_no_error_either(
    start: Start, speak: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    site = await start(tls=("h2", "http/1.1"))
    caplog.set_level("DEBUG", "quartblog.serving.faults")
    for _ in range(3):
        client = Http2(await site.connect("h2"))
        await speak(client)  # type: ignore[misc]  # a coroutine function each
        client.wire.close()

    await assert_unharmed(site)
    assert not [canary for canary in CANARIES if canary in caplog.text]


async def test_a_request_answered_before_it_was_read_leaves_the_connection_usable(start: Start) -> None:
    site = await start(tls=("h2", "http/1.1"))
    client = Http2(await site.connect("h2"))
    await early_answer(client)

    client.request(3, "GET", "/hello", end=True)
    await client.flush()

    await client.answered(3)


async def test_faults_are_counted_and_a_flood_of_them_is_one_line(start: Start) -> None:
    site = await start(tls=("h2", "http/1.1"))
    for _ in range(30):
        client = Http2(await site.connect("h2"))
        await bad_path(client)
        await client.wire.rest()
    await site.end()

    assert faults.CLIENT_FAULTS.count == 30
    [line] = [line for line in (await site.log()).splitlines() if "broke the protocol" in line]
    assert " INFO: Clients broke the protocol (once since the start), the last one at UnicodeDecodeError in " in line


async def test_a_client_that_offers_no_tls_is_no_error(start: Start) -> None:
    site = await start(tls=("http/1.1",))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /canary-query-4711 HTTP/1.1\r\n\r\n")
    assert b"HTTP" not in await Wire(reader, writer).rest()
    writer.close()
    refusing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", site.port, ssl=refusing, server_hostname="blog.example")

    await assert_unharmed(site)


async def test_a_task_of_the_site_that_loses_its_peer_is_an_error(start: Start) -> None:
    def prepare(app: Quart) -> None:
        @app.get("/loses")
        async def loses() -> str:
            async def lost() -> None:
                raise ConnectionRefusedError(111, CANARIES[2])

            task = asyncio.create_task(lost())
            await asyncio.wait([task])
            return "done"

    site = await start(prepare=prepare)
    assert b"done" in await site.get("/loses")
    gc.collect()

    log = await site.log()
    assert log.count(" ERROR: Task exception was never retrieved") == 1
    assert "ConnectionRefusedError: [Errno 111] Connection refused" in log
    assert CANARIES[2] not in log


async def test_a_mistake_of_the_server_is_not_a_clients_fault(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    site = await start()

    async def fail(_protocol: object) -> None:
        raise LookupError(CANARIES[2])

    monkeypatch.setattr(connections.Http1Protocol, "initiate", fail)
    for _ in range(3):
        await site.ask(b"GET /hello HTTP/1.1\r\nHost: blog.example\r\n\r\n")

    log = await site.log()
    assert faults.CLIENT_FAULTS.count == 0
    assert log.count(" ERROR: The server failed at a connection") == 1
    assert "canary" not in log
