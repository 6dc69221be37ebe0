"""Cookie -> token -> login row -> user, looked up at most once per request, and only when a view needs it."""

from datetime import timedelta
from typing import cast

from itsdangerous import BadSignature
from quart import Quart, Response, current_app, g, has_request_context, request, session
from quart_auth import AuthUser, QuartAuth, Unauthorized, current_user, login_user, logout_user

from quartblog.auth import service
from quartblog.auth.last_seen import note_seen
from quartblog.auth.service import Device, SignedIn
from quartblog.database import reading, transaction
from quartblog.delivery import current_scope
from quartblog.errors.exceptions import DatabaseUnavailable
from quartblog.models.login import BROWSER_MAX
from quartblog.web.cookies import LOGIN, cookie_name
from quartblog.web.security_log import Event, note, visitor_address

INSECURE = "quartblog.insecure_sign_ins"
ENDINGS = "quartblog.sign_outs"
"""Names a list in app.extensions: what else a sign-out ends. Each is awaited with the token and the account."""
OTHERS_ENDINGS = "quartblog.ends_of_others"
"""Names a list in app.extensions: what ends with logins of other browsers. Each is awaited with the account."""


class Visitor(AuthUser):
    """quart-auth's user. Its auth id is a random token, valid only while a login row has its digest."""

    @property
    async def is_authenticated(self) -> bool:
        """Whether the login behind the cookie is still valid, for quart-auth's login_required."""
        return await signed_in_user() is not None


class Auth(QuartAuth):
    """quart-auth with our Visitor class."""

    user_class = Visitor

    # The base class reads this wherever it handles the cookie, and sets it once from app.config.
    @property
    def cookie_name(self) -> str:
        """Return the name of the login cookie, which depends on the request."""
        return cookie_name(LOGIN) if has_request_context() else LOGIN

    @cookie_name.setter
    def cookie_name(self, _name: str | None) -> None:
        pass

    async def after_request(self, response: Response) -> Response:
        """Set or delete the cookie after a sign-in or sign-out.

        quart-auth would read the cookie of every request for it, also of those that ask for no visitor.
        """
        return await super().after_request(response) if self.attribute_name in g else response

    def load_token(self, token: str, app: Quart | None = None) -> str | None:
        """Return the auth id of a token with a valid signature, else None.

        The row of the login decides how long it lasts. quart-auth would also refuse a token that is dated in the
        future, as all of them are once the clock was turned back.
        """
        app = app or current_app
        keys = [*app.config["SECRET_KEY_FALLBACKS"], app.secret_key or ""]
        try:
            auth_id: str = self.serializer_class(keys, self.salt or "").loads(token)
        except BadSignature:
            return None
        return auth_id


async def signed_in_user() -> SignedIn | None:
    """Return the signed-in account, None for an anonymous visitor.

    A log record has the user id only after this call: the cookie holds a random token, and code that handles a failure
    must not query the database for its owner.
    """
    if "user" not in g:
        token = current_user.auth_id
        g.user = None if token is None else await _load(token)
    return cast("SignedIn | None", g.user)


async def required_user() -> SignedIn:
    """Return the signed-in user. Raise Unauthorized for an anonymous visitor, which leads to the sign-in page."""
    user = await signed_in_user()
    if user is None:
        raise Unauthorized
    return user


def sign_in(token: str, *, remember: bool) -> None:
    """Set the login cookie. Call it after the commit: the answer to a failed request must not set a valid cookie."""
    session.clear()
    g.pop("user", None)
    if current_app.config["QUART_AUTH_COOKIE_SECURE"] and not request.is_secure:
        current_app.extensions[INSECURE].log(
            "Somebody signed in by %s, where a browser drops the login cookie. Let the proxy send X-Forwarded-Proto and"
            " set [security] trusted_proxies; for a site without HTTPS, set [site] public_url to http://",
            request.scheme,
        )
    login_user(Visitor(token), remember)


def device() -> Device:
    """Return what a login notes of the browser."""
    browser = request.headers.get("User-Agent", "")[:BROWSER_MAX]
    return Device(browser.encode("ascii", "replace").decode(), visitor_address())


async def end_login() -> SignedIn | None:
    """End the login that the browser has sent, and what depends on it; return whose it was."""
    token, user = current_user.auth_id, None
    try:
        user = await signed_in_user()
        if token:
            async with transaction() as database:
                await service.end_login(database, token)
    except DatabaseUnavailable:
        # The login stays, but what counts without the database ends now.
        for ending in current_app.extensions[ENDINGS]:
            await ending(token, user)
        raise
    for ending in current_app.extensions[ENDINGS]:
        await ending(token, user)
    return user


async def others_ended() -> None:
    """End what depends on other logins of the account. Call it after the commit that has ended them."""
    user = await required_user()
    for ending in current_app.extensions[OTHERS_ENDINGS]:
        await ending(user)


async def sign_out() -> None:
    """End the visitor's login: first in the database, then in the cookie."""
    user = await end_login()
    session.clear()
    g.pop("user", None)
    logout_user()
    if user is not None:
        note(Event.SIGNED_OUT, user.id)


async def _load(token: str) -> SignedIn | None:
    scope = current_scope()
    if scope is not None:
        # The cookie holds the token signed, so hiding the request's own values does not cover it.
        scope.hide(lambda: [token])
    async with reading() as connection:
        user = await service.by_token(connection, token, timedelta(days=current_app.config["IDLE_DAYS"]))
    if user is not None:
        if scope is not None:
            scope.user_id = user.id
        await note_seen(user, device)
    return user
