"""Cookie -> token -> login row -> user: who is asking, looked up once a request, and only where it matters."""

from typing import cast

from quart import g, session
from quart_auth import AuthUser, QuartAuth, Unauthorized, current_user, login_user, logout_user

from quartblog.auth import service
from quartblog.auth.last_seen import note_seen
from quartblog.database import reading, transaction
from quartblog.delivery import current_scope
from quartblog.models import User


class Visitor(AuthUser):
    """quart-auth's user. Its auth id is a random token; only the row with its digest makes it worth anything."""

    @property
    async def is_authenticated(self) -> bool:
        """Whether the login behind the cookie still stands. (Asked by quart-auth's login_required.)"""
        return await self.user() is not None

    async def user(self) -> User | None:
        """The signed-in user, None for an anonymous visitor.

        A record tells the user id only where somebody has asked here before: the cookie holds a random token, and
        what fails is not the moment for a query to find whose it is.
        """
        if self.auth_id is None:
            return None
        if "user" not in g:
            g.user = await self._load(self.auth_id)
        return cast("User | None", g.user)

    async def _load(self, token: str) -> User | None:
        scope = current_scope()
        if scope is not None:
            # The cookie holds it signed, so it is no value of the request as it was sent.
            scope.hide(lambda: [token])
        async with reading() as database:
            user = await service.by_token(database, token)
        if user is not None:
            if scope is not None:
                scope.user_id = user.id
            await note_seen(user)
        return user


class Auth(QuartAuth):
    """quart-auth with our visitor."""

    user_class = Visitor


async def signed_in_user() -> User | None:
    """Who is asking, None for an anonymous visitor."""
    return await cast("Visitor", current_user).user()


async def required_user() -> User:
    """Who is asking, in a view that needs somebody; an anonymous visitor is sent to sign in."""
    user = await signed_in_user()
    if user is None:
        raise Unauthorized
    return user


def sign_in(token: str, *, remember: bool) -> None:
    """Answer with the cookie. Call it after the commit: a failed request must not carry a valid cookie."""
    session.clear()
    g.pop("user", None)
    login_user(Visitor(token), remember)


async def sign_out() -> None:
    """End the login behind the cookie, in the database first."""
    if token := current_user.auth_id:
        async with transaction() as database:
            await service.end_login(database, token)
    session.clear()
    g.pop("user", None)
    logout_user()
