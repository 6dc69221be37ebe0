"""Request -> its Host header is checked -> the app, or a 400: links are built from this header."""

import logging
from collections.abc import Collection, Sequence
from typing import cast

from quart import Quart

from quartblog.errors.pages import Explanation
from quartblog.web.fixed_answer import ASGIApp, FixedAnswer, Receive, Scope, Send, header
from quartblog.web.i18n import N_, Language
from quartblog.web.seldom import Seldom

logger = logging.getLogger(__name__)

# Characters of a host name that a record shows.
_SHOWN = 100
REFUSAL = FixedAnswer(400, Explanation(N_("请求有误: 本站不使用这个域名")))


def init_app(app: Quart, allowed_hosts: Sequence[str], *, any_host: Collection[str], language: Language) -> None:
    """Wrap the app. `allowed_hosts`: names without port, empty for any. `any_host`: paths that skip the check."""
    inner = cast("ASGIApp", app.asgi_app)
    app.asgi_app = OurHosts(inner, allowed_hosts, any_host, language)  # type: ignore[assignment, method-assign]


class OurHosts:
    """Refuses requests for other host names, before anything builds a link from them.

    It also refuses an invalid host name: Quart cannot build a link with one, not even for an error page.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], any_host: Collection[str], language: Language) -> None:
        """`any_host`: paths whose answers hold no link, so that health probes may use an IP address."""
        self.app = app
        self.hosts = frozenset(_name(host) for host in hosts)
        self.any_host = frozenset(any_host)
        self.language = language
        self._refusals = Seldom(logger, logging.INFO)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400 or pass on."""
        if scope["type"] != "http" or self._answers(header(scope, b"host"), scope["path"]):
            await self.app(scope, receive, send)
        else:
            self._refusals.log(
                "Refused a request for the host %s: [security] allowed_hosts are %s. A proxy in front must pass the"
                " visitor's Host on",
                ascii(header(scope, b"host")[:_SHOWN]),
                ", ".join(sorted(self.hosts)) or "empty, and the name is none",
            )
            await REFUSAL.send(scope, send, self.language)

    def _answers(self, host: str, path: str) -> bool:
        ours = not self.hosts or _name(host) in self.hosts or path in self.any_host
        return ours and _is_possible(host)


def _name(host: str) -> str:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.rstrip(".").lower()


def _is_possible(host: str) -> bool:
    """Whether Werkzeug can route the host: it encodes the part before the first colon as IDNA."""
    try:
        host.partition(":")[0].encode("idna")
    except UnicodeError:
        return False
    return True
