"""Request body -> a body of bounded size and duration, whose values no record shows once it is parsed."""

from collections.abc import Generator
from io import BytesIO
from typing import Any, cast

from quart import Quart, request
from quart.datastructures import FileStorage
from quart.formparser import FormDataParser
from quart.wrappers import Body, Request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from quartblog.web.fixed_answer import ASGIApp, Receive, Scope, Send
from quartblog.web.sent import hide_form, hide_json

# Bytes. The site's longest form needs a few hundred; 64 KiB of `a=&a=…` parses in milliseconds.
MAX_BODY = 64 * 1024
# Seconds a client has to send the whole body.
BODY_TIMEOUT = 15

# A key of the ASGI scope, set when the body exceeded the limit.
_CUT = "quartblog.body_cut"


class CountedBodies:
    """Counts the bytes as they arrive, because a chunked body announces no length.

    Past the limit it ends the body and discards the rest, so memory stays bounded whatever the app does. CutBody raises
    only in code that reads the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app with a limited body."""
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
    """A body that raises RequestEntityTooLarge at its end if it was cut off."""

    def __await__(self) -> Generator[Any, None, Any]:
        """Return the whole body."""
        whole = yield from super().__await__()
        _refuse_cut()
        return whole

    async def __anext__(self) -> bytes:
        """Return the next chunk."""
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            _refuse_cut()
            raise


class FormParser(FormDataParser):
    """Keeps uploaded files in memory; they fit there, and a refused body would leave temporary files open."""

    def __init__(self, **options: Any) -> None:
        super().__init__(stream_factory=lambda *_: BytesIO(), **options)

    async def parse(self, *arguments: Any, **options: Any) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
        """Parse a form, and hide what its fields hold."""
        form, files = await super().parse(*arguments, **options)
        hide_form(form, files)
        return form, files


class BoundedRequest(Request):
    """A request whose body is read only up to the limit."""

    body_class = CutBody
    form_data_parser_class = FormParser

    async def get_json(self, *arguments: Any, **options: Any) -> Any:
        """Parse JSON, and hide what it holds."""
        document = await super().get_json(*arguments, **options)
        hide_json(document)
        return document


def init_app(app: Quart) -> None:
    """Limit the size of a request body and the time it may take."""
    app.request_class = BoundedRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT
    app.asgi_app = CountedBodies(cast("ASGIApp", app.asgi_app))  # type: ignore[assignment, method-assign]


def _refuse_cut() -> None:
    if _CUT in request.scope:
        raise RequestEntityTooLarge
