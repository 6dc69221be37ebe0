"""Cookie -> token -> login row -> user, looked up at most once per request, and only when a view needs it."""

from typing import cast

from itsdangerous import BadSignature
from quart import Quart, Response, current_app, g, request, session
from quart_auth import AuthUser, QuartAuth, Unauthorized, current_user, login_user, logout_user

from quartblog.auth import service
from quartblog.auth.last_seen import note_seen
from quartblog.auth.service import Account
from quartblog.database import reading, transaction
from quartblog.delivery import current_scope

INSECURE = "quartblog.insecure_sign_ins"
ENDINGS = "quartblog.sign_outs"
"""Names a list in app.extensions: what else a sign-out ends. Each is awaited with the token and the account."""


class Visitor(AuthUser):
    """quart-auth's user. Its auth id is a random token, valid only while a login row has its digest."""

    @property
    async def is_authenticated(self) -> bool:
        """Whether the login behind the cookie is still valid, for quart-auth's login_required."""
        return await signed_in_user() is not None


class Auth(QuartAuth):
    """quart-auth with our Visitor class."""

    user_class = Visitor

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


async def signed_in_user() -> Account | None:
    """Return the signed-in account, None for an anonymous visitor.

    A log record has the user id only after this call: the cookie holds a random token, and code that handles a failure
    must not query the database for its owner.
    """
    if "user" not in g:
        token = current_user.auth_id
        g.user = None if token is None else await _load(token)
    return cast("Account | None", g.user)


async def required_user() -> Account:
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


async def sign_out() -> None:
    """End the visitor's login: first in the database, then in the cookie."""
    token, user = current_user.auth_id, await signed_in_user()
    if token:
        async with transaction() as database:
            await service.end_login(database, token)
    for ending in current_app.extensions[ENDINGS]:
        await ending(token, user)
    session.clear()
    g.pop("user", None)
    logout_user()


async def _load(token: str) -> Account | None:
    scope = current_scope()
    if scope is not None:
        # The cookie holds the token signed, so hiding the request's own values does not cover it.
        scope.hide(lambda: [token])
    async with reading() as connection:
        user = await service.by_token(connection, token)
    if user is not None:
        if scope is not None:
            scope.user_id = user.id
        await note_seen(user)
    return user
