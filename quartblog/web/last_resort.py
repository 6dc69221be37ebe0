"""Request -> scope of its records -> proxy headers -> the app -> an answer with the required headers, in every case.

This outermost ASGI layer answers when everything inside has failed, such as an error page or a library around the error
handlers: the visitor gets a fixed page and the operator an error record. It also answers a request that the server
cancels at a stop; that is not an error, so no error is recorded.
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
from quartblog.delivery.tools import sent_values
from quartblog.errors.pages import EXPLANATIONS, RETRY_AFTER, failure
from quartblog.web.application import info
from quartblog.web.fixed_answer import ASGIApp, FixedAnswer, Receive, Scope, Send
from quartblog.web.i18n import Language

logger = logging.getLogger(__name__)

LAST_WORDS = 0.25
"""Seconds that sending the answer to a cancelled request may take."""

# A key of the ASGI scope for the scheme of the connection to the server, before proxy headers change it.
_SCHEME = "quartblog.scheme"
# All printable ASCII, including the percent sign of existing escapes.
_QUERY_SAFE = "".join(map(chr, range(0x21, 0x7F)))


def init_app(app: Quart, *, trusted_proxies: int, language: Language, headers: Mapping[str, str]) -> None:
    """Wrap the app and its other ASGI layers. Every answer carries `headers`.

    `trusted_proxies`: the number of proxies in front of the site whose X-Forwarded headers set scheme, host and client
    address. The layer ignores values that came from before the first of them.
    """
    inner = cast("ASGIApp", app.asgi_app)
    if trusted_proxies:
        inner = cast("ASGIApp", ProxyFixMiddleware(cast("Any", _web_schemes(inner)), trusted_hops=trusted_proxies))
    app.asgi_app = LastResort(app, inner, language, headers)  # type: ignore[assignment, method-assign]


class LastResort:
    """Answers the requests that everything inside failed to answer."""

    def __init__(self, app: Quart, inner: ASGIApp, language: Language, headers: Mapping[str, str]) -> None:
        self.app = app
        self.inner = inner
        self.language = language
        self.headers = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request within a scope for its records."""
        match scope["type"]:
            case "http":
                with scope_of_work(scope["method"]) as work:
                    query, headers = scope["query_string"], scope["headers"]
                    # The closure keeps only these two: with `scope` a queued record would keep the whole request.
                    work.hide(lambda: sent_values(query, headers))
                    await self._answer(_readable(scope), receive, send, work.error_id)
            case "websocket":
                # The site has no websockets, and Quart's error page for them fails outside of a request.
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
            # Only now: the server may have raised for an invalid status or header.
            started = True

        try:
            _refuse_root_path(scope)
            await self.inner(scope, receive, complete_and_send)
        except asyncio.CancelledError:
            if not started:
                # Every 5xx page shows an error id, so the log must contain it.
                logger.info("The server stopped during a request and answered it with 503")
                answer = FixedAnswer(503, EXPLANATIONS[503], error_id, RETRY_AFTER)
                # Over HTTP/2 the sending task may be cancelled too.
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORDS):
                        await answer.send(scope, complete_and_send, self.language)
            raise
        except Exception as error:  # noqa: BLE001 - every exception is recorded and answered
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
        logger.error("The app failed to answer this request", exc_info=info(error))
    except Exception:  # noqa: BLE001 - any operation on a foreign exception may raise
        logger.error("The app failed to answer this request, with an exception that cannot be read")  # noqa: TRY400


def _refuse_root_path(scope: Scope) -> None:
    if scope.get("root_path"):
        # Links, cookies and redirects would all have to include it.
        raise RuntimeError("root_path is set: quartblog serves the blog only at the root of a host name")


def _web_schemes(app: ASGIApp) -> ASGIApp:
    """Ignore an X-Forwarded-Proto that is neither http nor https, because links are built from it."""

    async def pass_on(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            said = scope["scheme"].lower()
            scope = scope | {"scheme": said if said in {"http", "https"} else scope[_SCHEME]}
        await app(scope, receive, send)

    return pass_on


def _readable(scope: Scope) -> Scope:
    """Return the scope in the form that Quart and Werkzeug accept: some clients send raw bytes, others whole URLs."""
    query = quote(scope["query_string"], safe=_QUERY_SAFE).encode("ascii")
    return scope | {"path": _path(scope["path"]), "query_string": query, _SCHEME: scope["scheme"]}


def _path(target: str) -> str:
    if target.startswith("/"):
        return target
    with suppress(ValueError):
        target = urlsplit(target).path
    return target if target.startswith("/") else f"/{target}"
