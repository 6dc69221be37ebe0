"""Register, sign in, sign out. A login row in the database identifies the visitor behind a cookie."""

import logging
import warnings

from quart import Quart

from quartblog.auth import last_seen
from quartblog.auth.service import SignedIn
from quartblog.auth.visitor import ENDINGS, INSECURE, OTHERS_ENDINGS, Auth, signed_in_user
from quartblog.web.seldom import Seldom

logger = logging.getLogger(__name__)


def init_app(app: Quart) -> None:
    """Read the login cookie on each request, and give templates the signed-in user as `visitor`."""
    Auth(app)
    # Ours names the settings, and reaches the log.
    warnings.filterwarnings("ignore", "Secure cookies will be ignored", UserWarning)
    app.extensions[INSECURE] = Seldom(logger, logging.WARNING)
    app.extensions[ENDINGS] = []
    app.extensions[OTHERS_ENDINGS] = []
    last_seen.init_app(app)

    @app.context_processor
    async def visitor() -> dict[str, SignedIn | None]:
        return {"visitor": await signed_in_user()}
