"""The blog under a real Hypercorn in the test's own event loop, with and without TLS, and clients that send bytes."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypercorn.asyncio import serve as hypercorn
from hypercorn.config import Config
from quart import Quart

from quartblog.app import create_app
from quartblog.serving import connections, faults
from quartblog.settings import Settings
from quartblog.web.headers import SECURITY_HEADERS

CERTIFICATE = Path(__file__).parents[1] / "delivery" / "certificates" / "server.pem"
PATIENCE = 30.0
"""Seconds a client waits for anything: a bound for what hangs."""


@dataclass
class Wire:
    """One connection of a client, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send the bytes; the server may have closed the connection already."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def rest(self, patience: float = PATIENCE) -> bytes:
        """Everything until the server closes. Raise TimeoutError where it does not."""
        received = b""
        async with asyncio.timeout(patience):
            with suppress(ConnectionError, ssl.SSLError):
                while chunk := await self.reader.read(65536):
                    received += chunk
        return received

    def close(self) -> None:
        """Be gone, without a farewell."""
        self.writer.transport.abort()


@dataclass
class Site:
    """One server that runs in this event loop."""

    app: Quart
    config: Config
    port: int
    log_file: Path
    stop: asyncio.Event
    ended: asyncio.Task[None]
    clients: list[Wire] = field(default_factory=list)

    async def connect(self, *alpn: str) -> Wire:
        """A new connection; over TLS where the server has it, with these protocols offered."""
        trusting = None
        if self.config.ssl_enabled:
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.check_hostname = False
            trusting.verify_mode = ssl.CERT_NONE
            trusting.set_alpn_protocols(alpn or ["http/1.1"])
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port, ssl=trusting))
        self.clients.append(wire)
        return wire

    async def ask(self, request: bytes, patience: float = PATIENCE) -> bytes:
        """Everything that is answered on a connection of its own, until the server closes that."""
        wire = await self.connect()
        await wire.send(request)
        return await wire.rest(patience)

    async def get(self, path: str = "/hello", *headers: str) -> bytes:
        """The answer to an ordinary request."""
        lines = [f"GET {path} HTTP/1.1", "Host: blog.example", "Connection: close", *headers]
        return await self.ask("\r\n".join([*lines, "", ""]).encode())

    async def log(self) -> str:
        """What is in the log file, all that was logged before included."""
        assert await asyncio.to_thread(self.app.extensions["quartblog.delivery"].drain)
        return self.log_file.read_text("utf-8")

    async def end(self) -> float:
        """Stop it; return how many seconds that took."""
        began = asyncio.get_running_loop().time()
        self.stop.set()
        async with asyncio.timeout(PATIENCE):
            await self.ended
        return asyncio.get_running_loop().time() - began


Start = Callable[..., Awaitable[Site]]


@pytest.fixture
async def start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Start a server with these keys of hypercorn.toml.

    `tls` with these protocols offered; `unsent`: of a connection's answers, the kernel takes about so many bytes.
    """
    for module, name in connections.REPLACED:
        # As it was afterwards: the other tests have Hypercorn's own.
        monkeypatch.setattr(module, name, getattr(module, name))
    connections.install(SECURITY_HEADERS)
    clients, stray = faults.ClientFaults(), faults.Stray()
    for place in (faults, connections):
        monkeypatch.setattr(place, "CLIENT_FAULTS", clients)
        monkeypatch.setattr(place, "STRAY", stray)
    sites: list[Site] = []

    async def start(
        *, tls: tuple[str, ...] = (), prepare: Callable[[Quart], object] = id, unsent: int = 0, **keys: object
    ) -> Site:
        app = create_app(settings)
        prepare(app)
        bound = socket.create_server(("127.0.0.1", 0))
        if unsent:
            # Each connection has what its listener has.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, unsent)
        config = Config.from_mapping({"errorlog": None, "keep_alive_timeout": 1, "graceful_timeout": 0.5} | keys)
        config.bind = f"fd://{bound.fileno()}"
        if tls:
            config.certfile = config.keyfile = str(CERTIFICATE)
            config.alpn_protocols = list(tls)
        port = bound.getsockname()[1]
        bound.detach()
        stop = asyncio.Event()
        ended = asyncio.create_task(hypercorn(app, config, shutdown_trigger=stop.wait))
        site = Site(app, config, port, settings.logging.directory / settings.logging.filename, stop, ended)
        sites.append(site)
        # The socket listens already: the answer comes when the app has started.
        assert b" 200 " in await site.get()
        return site

    yield start
    for site in sites:
        for client in site.clients:
            client.close()
        await site.end()
