"""How much of a request is taken in."""

from collections.abc import Generator
from io import BytesIO
from typing import Any, cast

from quart import Quart, abort, request
from quart.formparser import FormDataParser
from quart.wrappers import Body, Request
from werkzeug.exceptions import RequestEntityTooLarge

from quartblog.web.fixed_answer import ASGIApp, Receive, Scope, Send

# Bytes: the longest form of the site needs a few hundred, and 64 KiB of `a=&a=…` parses in milliseconds.
MAX_BODY = 64 * 1024
# Seconds until a body that trickles in is given up.
BODY_TIMEOUT = 15
# Bytes: looking for a file with a longer name is an OSError on most file systems.
MAX_STATIC_PATH = 255

# Set in the ASGI scope of a request whose body was cut off.
_CUT = "quartblog.body_cut"


class CountedBodies:
    """Counts bytes as they are received: a chunked body announces no length.

    Over the limit the body ends, and what still comes is thrown away: memory stays small whatever the app does. Only
    who reads the body hears of it, from CutBody.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with a body that ends in time."""
        received = 0

        async def receive_within_limit() -> dict[str, Any]:
            nonlocal received
            while True:
                message = await receive()
                received += len(message.get("body", b""))
                if received <= MAX_BODY or message["type"] != "http.request":
                    return message
                if _CUT not in scope:
                    scope[_CUT] = True
                    return {"type": "http.request", "body": b"", "more_body": False}

        await self.app(scope, receive_within_limit, send)


class CutBody(Body):
    """Fails its reader at the end of a body that was cut off."""

    def __await__(self) -> Generator[Any, None, Any]:
        """The whole body."""
        whole = yield from super().__await__()
        _refuse_cut()
        return whole

    async def __anext__(self) -> bytes:
        """The next chunk."""
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            _refuse_cut()
            raise


class MemoryParser(FormDataParser):
    """Keeps parts with a file name in memory, where they fit: a temporary file stays open when the body is refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(stream_factory=lambda *_: BytesIO(), **options)


class LimitedRequest(Request):
    """A request that is never read over the limit."""

    body_class = CutBody
    form_data_parser_class = MemoryParser


def init_app(app: Quart) -> None:
    """Bound what a request may send, and for how long."""
    app.request_class = LimitedRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT
    app.before_request(refuse_endless_names)
    app.asgi_app = CountedBodies(cast("ASGIApp", app.asgi_app))  # type: ignore[assignment, method-assign]


async def refuse_endless_names() -> None:
    """404 for a static file that cannot be there."""
    if request.endpoint == "static" and len(request.path.encode("utf-8", "replace")) > MAX_STATIC_PATH:
        abort(404)


def _refuse_cut() -> None:
    if _CUT in request.scope:
        raise RequestEntityTooLarge
