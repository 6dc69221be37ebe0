"""Raw ASGI request -> the app's answer, for requests that no well-behaved client would send."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from quart import Quart
from werkzeug.datastructures import Headers

from tests.support.browsing import Page

App = Callable[[Any, Any, Any], Awaitable[None]]
RawHeaders = Sequence[tuple[bytes, bytes]]


async def ask(
    app: App,
    path: str = "/",
    *,
    method: str = "GET",
    query: bytes = b"",
    headers: RawHeaders = (),
    body: Iterable[bytes] = (b"",),
    complete: bool = True,
    **scope: object,
) -> Page:
    """Send a request and return the answer; add a Host header if it is missing.

    The app receives each chunk of `body` only when it waits for it, as from a slow client. With `complete=False` the
    body never ends.
    """
    sent: dict[str, Any] = {}
    received = bytearray()
    answered = asyncio.Event()
    chunks = iter(body)

    async def receive() -> dict[str, Any]:
        for _ in range(3):
            await asyncio.sleep(0)
        chunk = next(chunks, None)
        if chunk is not None:
            return {"type": "http.request", "body": chunk, "more_body": True}
        if complete and not sent.get("ended"):
            sent["ended"] = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            sent.update(message)
        elif message["type"] == "http.response.body":
            received.extend(message.get("body", b""))
            if not message.get("more_body", False):
                answered.set()

    request = request_scope(path, method, query, headers) | scope
    await app(request, receive, send)
    answer_headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent["headers"]])
    return Page(sent["status"], answer_headers, received.decode())


async def leave(app: Quart, path: str, *, turns: int, method: str = "GET", headers: RawHeaders, body: bytes) -> None:
    """Send a whole request and disconnect after `turns` turns of the event loop, answered or not."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        for _ in range(turns):
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(_message: dict[str, Any]) -> None:
        """Discard the answer."""

    await app(request_scope(path, method, b"", headers), receive, send)  # type: ignore[arg-type]


def request_scope(path: str, method: str, query: bytes, headers: RawHeaders) -> dict[str, Any]:
    """Return the ASGI scope of a request; add a Host header if it is missing."""
    if not any(name.lower() == b"host" for name, _ in headers):
        headers = [(b"host", b"localhost"), *headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": b"",
        "query_string": query,
        "root_path": "",
        "headers": list(headers),
        "client": ("192.0.2.1", 4711),
        "server": ("127.0.0.1", 5000),
        "extensions": {},
    }
