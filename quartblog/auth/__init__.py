"""Register, sign in, sign out. A login row in the database identifies the visitor behind a cookie."""

from quart import Quart

from quartblog.auth import last_seen
from quartblog.auth.visitor import Auth, signed_in_user
from quartblog.models import User


def init_app(app: Quart) -> None:
    """Read the login cookie on each request, and give templates the signed-in user as `visitor`."""
    Auth(app)
    last_seen.init_app(app)

    @app.context_processor
    async def visitor() -> dict[str, User | None]:
        return {"visitor": await signed_in_user()}
