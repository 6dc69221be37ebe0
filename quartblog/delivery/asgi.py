"""ASGI request -> a scope, one record of an exception that leaves the application, and the error id on the answer.

`ErrorScope` goes around the whole application, because Starlette and FastAPI run a handler for `Exception` outside of
all middleware that is added to them. There the scope has ended, so page and log line would show two ids.

    api = FastAPI()                                     site = Quart(__name__)
    app = ErrorScope(api)                               site.asgi_app = ErrorScope(site.asgi_app)
"""

from __future__ import annotations

import binascii
import logging
import re
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from . import context
from .own_log import kind, reraise_cancellation
from .text.redaction import ANYWHERE

App = Callable[[Any, Any, Any], Awaitable[None]]
Connection = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

STATE = "error_id"
"""The key of the id in the connection's state: Starlette's `request.state.error_id`."""

MOST_FIELDS = 200
"""Fields of a query that are decoded; of a longer query, only the values as sent are hidden."""

_SECRET = re.compile("pass|pwd|secret|token", re.IGNORECASE)
_SECRET_HEADER = re.compile(rb"auth|cookie|key|pass|secret|session|signature|token|^referer$", re.IGNORECASE)
_PARAMETER = re.compile(r"\{(\w+)")
# The exceptions by which a framework or a server reports that the client has left. That is not an error.
_CLIENT_LEFT = frozenset({"ClientDisconnect", "ClientDisconnected", "WebSocketDisconnect"})

logger = logging.getLogger("uncaught")


class ErrorScope:
    """An ASGI application, with a scope around each of its requests and websockets.

    - Each record of the request carries its error id, its method and the rule of its route. The rule comes from
      `scope["route"]`, where Starlette and FastAPI put it; elsewhere a hook sets `current_scope().route`. A view that
      knows the user sets `current_scope().user_id`.
    - An exception that leaves the application is logged here, unless the application's error handler has logged it. It
      does not reach the server, which would log it again, outside of the scope. If no answer has begun, the answer is
      a plain 500 with the id. A cancellation by the server passes.
    - An answer of 500 and above has the header X-Error-Id. `current_scope().error_id` is the same id, and so is
      `request.state.error_id` in Starlette.
    - No record shows what the visitor wrote into the path, the query, the cookies, and headers such as Authorization,
      X-Api-Key and Referer. Bodies pass unread: a view that parses a form or JSON hides its values with
      `current_scope().hide(lambda: form.values())`. Client addresses are not hidden.

    It also works as a middleware that is added to a framework. There it passes the exception on to the framework's own
    handler, and the server may log it a second time, with the same id. Other connections (lifespan) pass unchanged.
    """

    def __init__(self, app: App, *, hide: Callable[[bytes, Headers], Iterable[str]] | None = None) -> None:
        """`hide` returns the values of a query and of headers that no record may show; by default `sent_values`."""
        self.app = app
        self._hide = hide or sent_values

    # Any, because Starlette's scopes are mappings and Quart's are typed dictionaries.
    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket") or STATE in scope.get("state", ()):
            await self.app(scope, receive, send)
            return
        # Set by Starlette and FastAPI: their own handler for `Exception` is further out.
        inside = "app" in scope
        request = _Request(scope, self._hide)
        answer = _Answer(scope, receive, send)
        passed_on: BaseException | None = None
        with context.scope(scope.get("method", "WEBSOCKET"), request.route) as work:
            request.work = work
            work.hide(request.sent)
            scope.setdefault("state", {})[STATE] = answer.error_id = work.error_id
            try:
                await self.app(scope, answer.receive, answer.send)
            except GeneratorExit:
                # The coroutine is being discarded.
                raise
            except BaseException as error:  # noqa: BLE001  every exception is recorded
                reraise_cancellation(error)
                if kind(error) in _CLIENT_LEFT:
                    return
                if not work.has_logged(error):
                    _log(error)
                if inside:
                    passed_on = error
                else:
                    # The failure is recorded. A server that refuses this answer ends the connection itself.
                    with suppress(Exception):
                        await answer.send_failure()
            else:
                return
            finally:
                request.end()
        # The framework's handler runs in the same task, and so does a server that logs an unfinished answer.
        context.resume(work)
        try:
            if passed_on is not None:
                raise passed_on
        finally:
            del passed_on  # which would keep its own frames alive


def _log(error: BaseException) -> None:
    _, _, trace = sys.exc_info()
    # Without the frame of this module: it may count as own code, and the fingerprint counts all frames after that.
    inner = trace.tb_next if trace is not None else None
    logger.error("An exception left the application", exc_info=(type(error), error, inner))


class _Request:
    """The values that a request sent, and the rule that matched it."""

    def __init__(self, scope: Connection, hide: Callable[[bytes, Headers], Iterable[str]]) -> None:
        self._scope: Connection | None = scope
        # Only these values, because a record in the queue would keep the whole connection alive.
        self._path: str = scope["path"]
        self._raw_path: bytes = scope.get("raw_path") or b""
        self._query: bytes = scope["query_string"]
        self._headers: Headers = scope["headers"]
        self._hide = hide
        self._route: str | None = None
        self._mount = ""
        self.work: context.Scope | None = None

    def route(self) -> str | None:
        """Return the rule, with those of the mounts around it, once the framework knows it."""
        if (scope := self._scope) is None:
            return self._route
        route = scope.get("route")
        path = getattr(route, "path", route)
        if not isinstance(path, str):
            return None
        if hasattr(route, "routes"):  # A mount itself, if what is mounted does not say which of its routes matched.
            path = ""
        return _mounted_at(scope, path) + path

    def sent(self) -> Iterator[str]:
        """Yield the values from the visitor that no record may show."""
        work, scope = self.work, self._scope
        route = self._route if work is None else work.route
        mount = self._mount if scope is None else _mounted_at(scope)
        known = {*(route or "").split("/"), *mount.split("/")}
        yield from _in_path(self._path, self._raw_path.partition(b"?")[0].decode("latin-1"), known)
        yield from self._hide(self._query, self._headers)

    def end(self) -> None:
        """Drop the references to the connection, and to the scope, which refers back to this object."""
        if (scope := self._scope) is not None:
            self._mount = _mounted_at(scope)
        if (work := self.work) is not None:
            self._route = work.route = work.route
        self._scope = self.work = None


def _mounted_at(scope: Connection, route: str = "") -> str:
    """Return the rule of all mounts around the route, such as /shops/{name}; it holds nothing that a visitor wrote."""
    inside = _PARAMETER.findall(route)
    values = {str(value): name for name, value in scope.get("path_params", {}).items() if name not in inside}
    parts = scope.get("root_path", "").rstrip("/").split("/")
    if values.keys() <= {*parts}:
        return "/".join([f"{{{values[part]}}}" if part in values else part for part in parts])
    # A converted value, such as 7 of 007, does not say which part it was.
    return "".join([f"/{{{name}}}" for name in values.values()])


class _Answer:
    """The state of the answer, and the answer when the application fails."""

    def __init__(self, scope: Connection, receive: Receive, send: Send) -> None:
        self._is_request = scope["type"] == "http"
        # A server with this extension can refuse a handshake with a status.
        self._can_refuse = "websocket.http.response" in (scope.get("extensions") or ())
        self._receive = receive
        self._send = send
        self._begun = self._ended = False
        self.error_id = ""
        self.left = False

    async def receive(self) -> Any:
        """Receive from the server, and note when the client has left."""
        message = await self._receive()
        if message["type"] in ("http.disconnect", "websocket.disconnect"):
            self.left = True
        return message

    async def send(self, message: Any) -> None:
        """Send through the server, with the id on an answer of 500 and above."""
        kind: str = message["type"]
        if kind.endswith("http.response.start") and message["status"] >= 500:
            message = {**message, "headers": self._with_id(message.get("headers", ()))}
        await self._send(message)
        # Only now, because the server may have refused the message.
        self._begun = True
        self._ended = self._ended or kind in ("websocket.close", "websocket.http.response.start")

    async def send_failure(self) -> None:
        """Send a plain 500, or close the websocket, if the client still waits."""
        if self.left or self._ended or (self._is_request and self._begun):
            return
        if self._is_request or (self._can_refuse and not self._begun):
            prefix = "http.response" if self._is_request else "websocket.http.response"
            body = f"Internal Server Error\nError id: {self.error_id}\n".encode()
            length = b"%d" % len(body)
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length)]
            await self.send({"type": f"{prefix}.start", "status": 500, "headers": headers})
            await self.send({"type": f"{prefix}.body", "body": body})
        else:
            await self.send({"type": "websocket.close", "code": 1011, "reason": f"Error id: {self.error_id}"})

    def _with_id(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        others = [(name, value) for name, value in headers if name.lower() != b"x-error-id"]
        return [*others, (b"x-error-id", self.error_id.encode())]


def sent_values(query: bytes, headers: Headers) -> Iterator[str]:
    """Yield the values of a query string, of cookies and of headers with credentials, as sent and as decoded.

    Values of fewer than four characters count only in a header with credentials, or in a field whose name suggests a
    secret, such as `password2`. Redacting page numbers and ticked boxes would remove half the words of a record.
    """
    yield from _in_query(query.decode("latin-1"))
    for name, value in headers:
        if _SECRET_HEADER.search(name):
            yield from _in_header(name.lower(), value.decode("latin-1"))


def worth_hiding(name: str, value: str) -> bool:
    """Return whether the value is long enough to redact, or the field's name suggests a secret."""
    return len(value) >= ANYWHERE or _SECRET.search(name) is not None


def _in_path(path: str, raw: str, known: set[str]) -> Iterator[str]:
    """Yield segments that are not known, and a path that has any; as sent, decoded and encoded again."""
    known = {"", *known}
    for text in {path, raw, quote(path)}:
        if written := [part for part in text.split("/") if part not in known]:
            yield from (value for value in (text, *written) if worth_hiding("", value))


def _in_query(query: str) -> Iterator[str]:
    if not query:
        return
    fields = [part.partition("=")[::2] for part in query.split("&")]
    with suppress(ValueError):  # Too many fields: the values as sent must suffice.
        fields += parse_qsl(query, max_num_fields=MOST_FIELDS)
    yield from (value for name, value in (("", query), *fields) if worth_hiding(name, value))


def _in_header(name: bytes, value: str) -> Iterator[str]:
    match name:
        case b"cookie":
            yield from _in_cookies(value)
        case b"authorization" | b"proxy-authorization":
            yield from _in_credentials(value)
        case _:
            yield value


def _in_cookies(header: str) -> Iterator[str]:
    for part in header.split(";"):
        name, _, value = part.partition("=")
        value = value.strip().strip('"')
        yield from (one for one in (value, unquote(value)) if worth_hiding(name, one))


def _in_credentials(header: str) -> Iterator[str]:
    scheme, _, credentials = header.partition(" ")
    yield credentials.strip() or scheme
    if scheme.lower() == "basic":
        try:
            decoded = b64decode(credentials).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return
        name, _, password = decoded.partition(":")
        yield decoded
        yield password
        if worth_hiding("", name):
            yield name
