"""Noise against a running `quartblog run`, and what it costs: `python -m tests.server.noise --minutes 20`.

Everything on 127.0.0.1, from a bounded number of clients at a time, and it ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import ssl
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.noise import CANARIES, WRONG
from tests.support.processes import ROOT, Server, Servers, eventually, tracked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

CLIENTS = 20
"""Connections at a time."""
SETTLED = 6
"""Seconds in which the number of descriptors stays the same."""
CERTIFICATE = ROOT / "tests" / "delivery" / "certificates" / "server.pem"
_HOST = b"Host: blog.example\r\nCookie: quartblog=canary-cookie-4711\r\n"


@dataclass(frozen=True)
class Cost:
    """What the workers hold together."""

    megabytes: float
    """Resident memory."""
    descriptors: int


@dataclass(frozen=True)
class Outcome:
    """What a noise has done."""

    requests: Counter[str]
    """By kind."""
    before: Cost
    after: Cost
    errors: int
    """ERROR records."""
    leaked: tuple[str, ...]
    """Canaries that are in the log or on standard error."""
    exit_code: int
    seconds: float
    """How long the stop took."""


class Noise:
    """Clients that do what none should."""

    def __init__(self, port: int, *, tls: bool, seed: int = 4711) -> None:
        """The seed makes a noise that can be repeated."""
        self.port = port
        self.random = random.Random(seed)
        self.sent: Counter[str] = Counter()
        self.context: ssl.SSLContext | None = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE

    async def make(self, seconds: float) -> None:
        """Make noise for so long."""
        until = time.monotonic() + seconds
        kinds = [self.junk, self.aborted, self.slow_body, self.early_answer, self.random_bytes, self.page]
        await asyncio.gather(*(self._client(kinds, until) for _ in range(CLIENTS)))

    async def _client(self, kinds: Sequence[Callable[[], Awaitable[None]]], until: float) -> None:
        while time.monotonic() < until:
            kind = self.random.choice(kinds)
            self.sent[kind.__name__] += 1
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
                await kind()

    async def junk(self) -> None:
        """What breaks the protocol, heard to its end or not."""
        await self._send(self.random.choice(list(WRONG.values())), wait=self.random.random() < 0.5)

    async def aborted(self) -> None:
        """An ordinary request whose client is gone at once."""
        await self._send(b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n", wait=False)

    async def slow_body(self) -> None:
        """A form that comes in drops, and not all of it."""
        head = b"POST /login HTTP/1.1\r\n" + _HOST + b"Sec-Fetch-Site: same-origin\r\n"
        head += b"Content-Type: application/x-www-form-urlencoded\r\n"
        await self._send(head + b"Content-Length: 200\r\n\r\n", *[b"a=b&"] * 10, wait=False, pause=0.05)

    async def early_answer(self) -> None:
        """A body that is still sent when the answer is there."""
        head = b"POST /nowhere HTTP/1.1\r\n" + _HOST + b"Content-Length: 300000\r\n\r\n"
        await self._send(head, *[b"a" * 30_000] * 10, wait=True)

    async def random_bytes(self) -> None:
        """Nothing at all that anybody could read."""
        await self._send(self.random.randbytes(self.random.randrange(2_000)), wait=False)

    async def page(self) -> None:
        """What people do, in between."""
        await self._send(b"GET /login HTTP/1.1\r\n" + _HOST + b"Connection: close\r\n\r\n", wait=True)

    async def _send(self, *parts: bytes, wait: bool, pause: float = 0.0) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            if wait:
                async with asyncio.timeout(0.5):
                    await reader.read()
        except TimeoutError:
            pass  # It has a keep-alive, or is one of those that say nothing.
        finally:
            writer.transport.abort()


def suffer(servers: Servers, seconds: float, *, tls: bool) -> Outcome:
    """Start a site, make noise at it for so many seconds, and stop it."""
    folder = servers.site(name="tls" if tls else "plain")
    text = tracked("hypercorn.toml").replace("keep_alive_timeout = 5", "keep_alive_timeout = 1")
    if tls:
        text += f'\ncertfile = "{CERTIFICATE}"\nkeyfile = "{CERTIFICATE}"\ninsecure_bind = ["127.0.0.1:0"]\n'
    (folder / "hypercorn.toml").write_text(text, "utf-8")
    server = servers.start(servers.command("--port=0"), folder)
    port = eventually(lambda: _port(server, "https" if tls else "http"))
    server.url = f"http://127.0.0.1:{_port(server, 'http')}"
    server.wait_until("/readyz")
    noise = Noise(port, tls=tls)
    # First the caches fill, and the allocator takes what it will need.
    asyncio.run(noise.make(min(5.0, seconds)))
    before = _settled(server)
    asyncio.run(noise.make(seconds))
    after = _settled(server)
    assert server.client().get("/hello").status == 200
    began = time.monotonic()
    exit_code = server.stop()
    took = time.monotonic() - began
    written = server.log + server.stderr
    leaked = tuple(canary for canary in CANARIES if canary in written)
    return Outcome(noise.sent, before, after, written.count(" ERROR: "), leaked, exit_code, took)


def _port(server: Server, scheme: str) -> int:
    start = f"{scheme}://127.0.0.1:"
    return next((int(word.removeprefix(start)) for word in server.stdout.split() if word.startswith(start)), 0)


def _settled(server: Server) -> Cost:
    """The cost once every connection has ended, which a client that never agreed on TLS does after five seconds."""
    seen: list[int] = []
    while len(seen) < 30 and (len(seen) < SETTLED or len(set(seen[-SETTLED:])) > 1):
        time.sleep(1)
        seen.append(_cost(server).descriptors)
    return _cost(server)


def _cost(server: Server) -> Cost:
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.workers]
    opened = [_target(entry) for pid in server.workers for entry in Path(f"/proc/{pid}/fd").iterdir()]
    # Those of the databases apart: their pools fill by and by, up to pool_size.
    descriptors = [target for target in opened if target and ".sqlite3" not in target]
    return Cost(sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6, len(descriptors))


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:  # Closed meanwhile.
        return ""


def main() -> None:
    """Print what a noise of some minutes costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Servers(Path(folder)) as servers:
        outcome = suffer(servers, options.minutes * 60, tls=options.tls)
    for kind, count in sorted(outcome.requests.items()):
        print(f"{kind:14} {count:>9,}")
    print(f"memory         {outcome.before.megabytes:.1f} -> {outcome.after.megabytes:.1f} MB")
    print(f"descriptors    {outcome.before.descriptors} -> {outcome.after.descriptors}")
    print(f"ERROR records  {outcome.errors}")
    print(f"secrets found  {', '.join(outcome.leaked) or 'none'}")
    print(f"stop           exit code {outcome.exit_code} after {outcome.seconds:.1f} s")


if __name__ == "__main__":
    main()
