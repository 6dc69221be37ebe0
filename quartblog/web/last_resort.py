"""Proxy headers -> our hosts -> the app, and around it all the layer that always has an answer.

Whatever fails inside, the visitor gets a page and the operator a record: an error page that fails itself, a library
that raises around the handlers. The outermost layer also opens the request's context.
"""

import html
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import quote

from hypercorn.middleware import ProxyFixMiddleware
from quart import Quart

from quartblog import __version__
from quartblog.errors.context import RequestContext, opened
from quartblog.errors.pages import problem
from quartblog.web.headers import SECURITY_HEADERS
from quartblog.web.i18n import N_, Language, negotiate, translate

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

# Everything ASCII that may stand in a query string, and the percent sign of what is already escaped.
_QUERY_SAFE = "".join(map(chr, range(0x21, 0x7F)))

# Written out: the templates may be what failed.
_PAGE = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/static/quartblog.css?v={version}">
</head>
<body>
<main class="measure">
<h1>{title}</h1>
{id_line}<p><a class="button" href="/">{home}</a></p>
</main>
</body>
</html>
"""


def init_app(app: Quart, *, allowed_hosts: Sequence[str], trusted_proxies: int, language: Language) -> None:
    """Wrap the app. `allowed_hosts`: names without port, empty for any.

    `trusted_proxies`: how many proxies in front of us may tell scheme, host and client address in X-Forwarded
    headers; what came in before the first of them is a claim, and ignored.
    """
    inner = cast("ASGIApp", app.asgi_app)
    if allowed_hosts:
        inner = OurHosts(inner, allowed_hosts, language)
    if trusted_proxies:
        inner = cast("ASGIApp", ProxyFixMiddleware(cast("Any", inner), trusted_hops=trusted_proxies))
    app.asgi_app = LastResort(inner, language)  # type: ignore[assignment, method-assign]


class LastResort:
    """Answers what nothing inside could answer."""

    def __init__(self, app: ASGIApp, language: Language) -> None:
        self.app = app
        self.language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection; its request context lasts as long."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def tracked_send(message: dict[str, Any]) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        # Werkzeug decodes it as ASCII; some clients send raw bytes.
        scope = scope | {"query_string": quote(scope["query_string"], safe=_QUERY_SAFE).encode("ascii")}
        with opened(RequestContext(scope["method"])) as context:
            try:
                await self.app(scope, receive, tracked_send)
            except Exception:
                logger.exception("Nothing else answered this request")
                if not started:
                    text = N_("发生意外错误, 已通知管理员，给您带来的不便，请多多原谅")
                    await _send(FixedAnswer(500, text, context.error_id), scope, send, self.language)


class OurHosts:
    """Refuses requests for host names that are not this site's, before anything builds a link from them."""

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str], language: Language) -> None:
        self.app = app
        self.allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self.language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400 or pass on."""
        if scope["type"] == "http" and _host_name(_header(scope, b"host")) not in self.allowed_hosts:
            answer = FixedAnswer(400, N_("请求有误: 本站不使用这个域名"))
            await _send(answer, scope, send, self.language)
        else:
            await self.app(scope, receive, send)


class FixedAnswer(NamedTuple):
    """An answer that needs nothing of the app."""

    status: int
    text: str
    error_id: str | None = None


async def _send(answer: FixedAnswer, scope: Scope, send: Send, default: Language) -> None:
    status, text, error_id = answer
    language = negotiate(_header(scope, b"accept-language"), default)
    title = translate(text, language)
    accept = _header(scope, b"accept")
    if "json" in accept and "html" not in accept:
        content_type, body = "application/problem+json", problem(status, title, None, error_id)
    else:
        content_type, body = "text/html; charset=utf-8", _page(language, title, error_id)
    headers = SECURITY_HEADERS | {"Content-Type": content_type, "Cache-Control": "no-store"}
    if error_id is not None:
        headers["X-Error-Id"] = error_id
    raw = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body.encode(), "more_body": False})


def _page(language: Language, title: str, error_id: str | None) -> str:
    id_line = f"<p>{translate(N_('错误编号'), language)}: <code>{error_id}</code></p>\n" if error_id else ""
    return _PAGE.format(
        lang="zh-Hans" if language == "zh" else language,
        title=html.escape(title),
        version=__version__,
        id_line=id_line,
        home=translate(N_("返回首页"), language),
    )


def _host_name(host: str) -> str:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.rstrip(".").lower()


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key.lower() == name:
            return bytes(value).decode("latin-1")
    return ""
