"""Register, sign in, sign out. A login row in the database identifies the visitor behind a cookie."""

from quart import Quart

from quartblog.auth import last_seen
from quartblog.auth.service import Account
from quartblog.auth.visitor import Auth, signed_in_user


def init_app(app: Quart) -> None:
    """Read the login cookie on each request, and give templates the signed-in user as `visitor`."""
    Auth(app)
    last_seen.init_app(app)

    @app.context_processor
    async def visitor() -> dict[str, Account | None]:
        return {"visitor": await signed_in_user()}
