"""The headers every answer carries."""

from typing import Any

from quart import Quart, Response, request
from quart.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from quart.wrappers import BaseRequestWebsocket

from quartblog.web.redirects import within_site

# No script, nothing from another host, no framing: there is nothing here that needs more.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Seconds a browser remembers to ask by HTTPS only: a year.
HSTS = "max-age=31536000"
# A page differs by who asks, in which language, and for which kind of answer.
VARY = "Cookie, Accept-Language, Accept"


def security_headers(*, secure: bool, debug: bool) -> dict[str, str]:
    """What no answer may lack. `secure` where the site is served by HTTPS only."""
    headers = dict(SECURITY_HEADERS)
    if secure:
        headers["Strict-Transport-Security"] = HSTS
    if debug:
        # Quart's traceback page brings its own style.
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.replace("style-src", "style-src 'unsafe-inline'")
    return headers


class OnlyChangedSessions(SecureCookieSessionInterface):
    """Leaves a request alone that brings no session, and an answer that has nothing to save.

    Quart 0.23 looks at each session itself, and would tell caches that even a static file varies by who asks.
    """

    async def open_session(self, app: Quart, request: BaseRequestWebsocket) -> SecureCookieSession | None:
        """Read the cookie; without one, no key is derived to check it."""
        if self.get_cookie_name(app) in request.cookies:
            return await super().open_session(app, request)
        return self.session_class()

    async def save_session(self, app: Quart, session: SessionMixin, response: Any) -> None:
        """Set the cookie of a changed session."""
        if session.modified:
            await super().save_session(app, session, response)


def init_app(app: Quart) -> None:
    """Tell caches whose a page is. Static files are anybody's; a page in their place is not."""

    async def note_whose(response: Response) -> Response:
        if response.location and (within := within_site(response.location)) != response.location:
            # Werkzeug's own redirects are built from the Host header, which is the client's word; so is their text.
            response.location = within
            response.set_data(b"")
        if request.endpoint != "static" or response.status_code >= 400:
            response.headers["Vary"] = VARY
            response.headers.setdefault("Cache-Control", "private, no-cache")
        return response

    app.after_request(note_whose)
    app.session_interface = OnlyChangedSessions()
