"""How much of a request is taken in."""

from io import BytesIO
from typing import Any

from quart import Quart, abort, request
from quart.formparser import FormDataParser
from quart.wrappers.request import Body, Request
from werkzeug.exceptions import RequestEntityTooLarge

# Bytes: the longest form of the site needs a few hundred, and 64 KiB of `a=&a=…` parses in milliseconds.
MAX_BODY = 64 * 1024
# Seconds until a body that trickles in is given up.
BODY_TIMEOUT = 15
# Bytes: looking for a file with a longer name is an OSError on most file systems.
MAX_STATIC_PATH = 255


class CountedBody(Body):
    """Counts bytes as they are received: a chunked body announces no length, and reading it hides what came before."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self._received = 0

    async def __anext__(self) -> bytes:
        """The next chunk; the limit may have been passed while this waited for it."""
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            if self._must_raise is not None:
                raise self._must_raise from None
            raise

    def append(self, data: bytes) -> None:
        """Take a chunk, or fail the reader once the sum is over the limit."""
        self._received += len(data)
        if self._max_content_length is not None and self._received > self._max_content_length:
            self._must_raise = RequestEntityTooLarge()
            self.set_complete()
        else:
            super().append(data)


class MemoryParser(FormDataParser):
    """Keeps parts with a file name in memory, where they fit: a temporary file stays open when the body is refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(stream_factory=lambda *_: BytesIO(), **options)


class LimitedRequest(Request):
    """A request whose body is counted."""

    body_class = CountedBody
    form_data_parser_class = MemoryParser


def init_app(app: Quart) -> None:
    """Bound what a request may send, and for how long."""
    app.request_class = LimitedRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT
    app.before_request(refuse_endless_names)


async def refuse_endless_names() -> None:
    """404 for a static file that cannot be there."""
    if request.endpoint == "static" and len(request.path.encode("utf-8", "replace")) > MAX_STATIC_PATH:
        abort(404)
