"""Answer -> the same answer with security and cache headers."""

from hashlib import blake2b
from typing import Any

from quart import Quart, Response, g, request, session
from quart.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from quart.wrappers import BaseRequestWebsocket
from quart.wrappers.response import DataBody

from quartblog.web.cookies import SESSION, cookie_name
from quartblog.web.redirects import within_site

# No script, nothing from another host, no framing: the site needs none of them.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
# What browsers offer to pages and this site never asks for.
_UNUSED = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _UNUSED),
}
# Browsers use only HTTPS for this time: a year, in seconds.
HSTS = "max-age=31536000"
# A page depends on the visitor, the language and the requested media type.
VARY = "Cookie, Accept-Language, Accept"


def security_headers(*, secure: bool, subdomains: bool = False, debug: bool) -> dict[str, str]:
    """Return the headers that every answer must carry.

    `secure`: the site is served by HTTPS only. `subdomains`: so are all hosts below it.
    """
    headers = dict(SECURITY_HEADERS)
    if secure:
        headers["Strict-Transport-Security"] = f"{HSTS}; includeSubDomains" if subdomains else HSTS
    if debug:
        # Quart's traceback page has inline styles.
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.replace("style-src", "style-src 'unsafe-inline'")
    return headers


class OnlyChangedSessions(SecureCookieSessionInterface):
    """Skips a request without a session cookie, and an answer without a changed session.

    Otherwise Quart 0.23 would add `Vary: Cookie` to every answer, even to a static file.
    """

    def get_cookie_name(self, app: Quart) -> str:
        """Return the name of the session cookie, which depends on the request."""
        return cookie_name(SESSION)

    async def open_session(self, app: Quart, request: BaseRequestWebsocket) -> SecureCookieSession | None:
        """Read the cookie. Without one, skip the derivation of the key that checks it."""
        if self.get_cookie_name(app) in request.cookies:
            return await super().open_session(app, request)
        return self.session_class()

    async def save_session(self, app: Quart, session: SessionMixin, response: Any) -> None:
        """Send the cookie only of a changed session."""
        if session.modified:
            await super().save_session(app, session, response)


def init_app(app: Quart) -> None:
    """Mark pages as private for caches, and answer 304 where the browser has this very page.

    Static files are public, but an error page in place of one is private.
    """

    # One function, because each costs every answer some microseconds of Quart's.
    async def complete(response: Response) -> Response:
        _redirect_within(response)
        if request.endpoint != "static" or response.status_code >= 400:
            response.headers["Vary"] = VARY
            # A browser that somebody else uses next must not show what a member has seen.
            is_members = g.get("user") is not None
            response.headers.setdefault("Cache-Control", "no-store" if is_members else "private, no-cache")
        is_page = response.mimetype == "text/html" and isinstance(response.response, DataBody)
        is_kept = "no-store" not in response.headers.get("Cache-Control", "")
        # A changed session comes with a cookie.
        is_read = response.status_code == 200 and request.method in {"GET", "HEAD"} and not session.modified
        if is_page and is_kept and is_read:
            await _answer_shortly(response)
        return response

    app.after_request(complete)
    app.session_interface = OnlyChangedSessions()


def _redirect_within(response: Response) -> None:
    """Replace the host of Werkzeug's own redirects: it comes from the Host header, which the client chose."""
    if response.location and (within := within_site(response.location)) != response.location:
        response.location = within
        # The text names the host, too.
        response.set_data(b"")


async def _answer_shortly(response: Response) -> None:
    """Tag a page by its whole content, and answer 304 without it where the browser has this one."""
    tag = blake2b(await response.get_data(as_text=False), digest_size=12).hexdigest()
    response.set_etag(tag)
    # Not Quart's make_conditional(), which answers an If-Match with 412.
    if request.if_none_match.contains_weak(tag):
        response.status_code = 304
        response.set_data(b"")
        del response.headers["Content-Length"], response.headers["Content-Type"]
