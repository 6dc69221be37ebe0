"""Proxy headers -> our hosts -> the app, and around it all the layer that always has an answer.

Whatever fails inside, the visitor gets a page and the operator a record: an error page that fails itself, a library
that raises around the handlers. A request that the server cuts off, because it stops, is answered too, and recorded
nowhere. The outermost layer also opens the scope of the request's records, and completes every answer with the headers
it must not lack.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote, urlsplit

from hypercorn.middleware import ProxyFixMiddleware
from quart import Quart

from quartblog.delivery import scope as scope_of_work
from quartblog.errors.pages import EXPLANATIONS, RETRY_AFTER, failure
from quartblog.web import sent
from quartblog.web.application import info
from quartblog.web.fixed_answer import ASGIApp, FixedAnswer, Receive, Scope, Send
from quartblog.web.i18n import Language

logger = logging.getLogger(__name__)

LAST_WORDS = 0.25
"""Seconds the answer to a request that was cut off may take."""

# Set in the ASGI scope: the scheme that the server itself has seen.
_SCHEME = "quartblog.scheme"
# Everything ASCII that may stand in a query string, and the percent sign of what is already escaped.
_QUERY_SAFE = "".join(map(chr, range(0x21, 0x7F)))


def init_app(app: Quart, *, trusted_proxies: int, language: Language, headers: Mapping[str, str]) -> None:
    """Wrap the app, and whatever wraps it already. `headers`: what every answer carries.

    `trusted_proxies`: how many proxies in front of us may tell scheme, host and client address in X-Forwarded
    headers; what came in before the first of them is a claim, and ignored.
    """
    inner = cast("ASGIApp", app.asgi_app)
    if trusted_proxies:
        inner = cast("ASGIApp", ProxyFixMiddleware(cast("Any", _web_schemes(inner)), trusted_hops=trusted_proxies))
    app.asgi_app = LastResort(app, inner, language, headers)  # type: ignore[assignment, method-assign]


class LastResort:
    """Answers what nothing inside could answer."""

    def __init__(self, app: Quart, inner: ASGIApp, language: Language, headers: Mapping[str, str]) -> None:
        self.app = app
        self.inner = inner
        self.language = language
        self.headers = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection; the scope of its records lasts as long."""
        match scope["type"]:
            case "http":
                with scope_of_work(scope["method"]) as work:
                    query, headers = scope["query_string"], scope["headers"]
                    # Of these two alone: the whole scope would wait in the queue with a record.
                    work.hide(lambda: sent.in_query_and_headers(query, headers))
                    await self._answer(_readable(scope), receive, send, work.error_id)
            case "websocket":
                # There are none here, and Quart would refuse them by an error page, which only a request can have.
                await receive()
                await send({"type": "websocket.close", "code": 1000})
            case _:
                await self.inner(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, error_id: str) -> None:
        started = False

        async def complete_and_send(message: dict[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                message = message | {"headers": self._completed(message, error_id)}
            await send(message)
            # Not before: the server refuses what cannot be a status or a header.
            started = True

        try:
            _refuse_root_path(scope)
            await self.inner(scope, receive, complete_and_send)
        except asyncio.CancelledError:
            if not started:
                # For whoever quotes the id that every 5xx has.
                logger.info("A request was cut off: the site stops")
                answer = FixedAnswer(503, EXPLANATIONS[503], error_id, RETRY_AFTER)
                # What would send it may be cancelled as well, as over HTTP/2.
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORDS):
                        await answer.send(scope, complete_and_send, self.language)
            raise
        except Exception as error:  # noqa: BLE001 - recorded, whatever it is
            _record(error)
            if not started:
                answer = FixedAnswer(500, failure(self.app), error_id)
                await answer.send(scope, complete_and_send, self.language)

    def _completed(self, start: Mapping[str, Any], error_id: str) -> list[tuple[bytes, bytes]]:
        required = self.headers
        if start["status"] >= 500:
            required = [*required, (b"x-error-id", error_id.encode("ascii"))]
        return [*start["headers"], *required]


def _record(error: Exception) -> None:
    try:
        logger.error("Nothing else answered this request", exc_info=info(error))
    except Exception:  # noqa: BLE001 - an exception may raise from all that is asked of it
        logger.error("Nothing else answered this request, and what it raised cannot be examined")  # noqa: TRY400


def _refuse_root_path(scope: Scope) -> None:
    if scope.get("root_path"):
        # Links, cookies and redirects would all need it.
        raise RuntimeError("root_path is set: the blog is served at the root of a host name only")


def _web_schemes(app: ASGIApp) -> ASGIApp:
    """Ignore an X-Forwarded-Proto that is neither http nor https: links are built from it."""

    async def pass_on(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            said = scope["scheme"].lower()
            scope = scope | {"scheme": said if said in {"http", "https"} else scope[_SCHEME]}
        await app(scope, receive, send)

    return pass_on


def _readable(scope: Scope) -> Scope:
    """The scope in the form Quart and Werkzeug take: some clients send raw bytes, and some send whole URLs."""
    query = quote(scope["query_string"], safe=_QUERY_SAFE).encode("ascii")
    return scope | {"path": _path(scope["path"]), "query_string": query, _SCHEME: scope["scheme"]}


def _path(target: str) -> str:
    if target.startswith("/"):
        return target
    with suppress(ValueError):
        target = urlsplit(target).path
    return target if target.startswith("/") else f"/{target}"
