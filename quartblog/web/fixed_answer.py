"""Status and explanation -> a complete answer, built without the app: the templates may be the part that failed."""

import html
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from quartblog.errors.pages import Explanation, problem
from quartblog.web import static
from quartblog.web.i18n import N_, Language, negotiate, translate

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_PAGE = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{stylesheet}">
</head>
<body>
<main class="measure">
<h1>{title}</h1>
{hint_line}{id_line}<p><a class="button" href="/">{home}</a></p>
</main>
</body>
</html>
"""


class FixedAnswer(NamedTuple):
    """A status, its explanation, the error id of a 5xx, and the seconds for Retry-After."""

    status: int
    explanation: Explanation
    error_id: str | None = None
    retry_after: int | None = None

    async def send(self, scope: Scope, send: Send, default: Language) -> None:
        """Answer the request of `scope`, in the `default` language if it accepts none of the site's languages."""
        language = negotiate(header(scope, b"accept-language"), default)
        title = translate(self.explanation.title, language)
        hint = translate(self.explanation.hint, language) if self.explanation.hint else None
        accept = header(scope, b"accept")
        if "json" in accept and "html" not in accept:
            content_type, body = b"application/problem+json", problem(self.status, title, hint, self.error_id)
        else:
            content_type, body = b"text/html; charset=utf-8", _page(language, title, hint, self.error_id)
        headers = [(b"content-type", content_type), (b"cache-control", b"no-store")]
        if self.retry_after is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode(), "more_body": False})


def header(scope: Scope, name: bytes) -> str:
    """Return the first header of that lower-case name; an empty string if it is missing."""
    for key, value in scope["headers"]:
        if key.lower() == name:
            return bytes(value).decode("latin-1")
    return ""


def _page(language: Language, title: str, hint: str | None, error_id: str | None) -> str:
    hint_line = f"<p>{html.escape(hint)}</p>\n" if hint else ""
    id_line = f"<p>{translate(N_('错误编号'), language)}: <code>{error_id}</code></p>\n" if error_id else ""
    return _PAGE.format(
        lang="zh-Hans" if language == "zh" else language,
        title=html.escape(title),
        stylesheet=static.address("quartblog.css"),
        hint_line=hint_line,
        id_line=id_line,
        home=translate(N_("返回首页"), language),
    )
