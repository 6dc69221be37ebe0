"""Address with a single-use key -> the operations pages, for an operator without a session."""

import asyncio
import logging
import time

from quart import Blueprint, Quart, Response, current_app, g, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue

from quartblog.errors.exceptions import KeyRefused
from quartblog.operations.access import admit, outbox_folder
from quartblog.operations.keys import use_key
from quartblog.web.security_log import logger as security
from quartblog.web.seldom import Seldom

logger = logging.getLogger(__name__)

_REFUSALS = "quartblog.refused_keys"

blueprint = Blueprint("operations_entrance", __name__, url_prefix="/operations")


def init_app(app: Quart) -> None:
    """Prepare the record of refusals."""
    app.extensions[_REFUSALS] = Seldom(security, logging.INFO)


@blueprint.get("/enter")
async def show() -> ResponseReturnValue:
    """Ask first, because mail and chat programs open addresses by themselves, which would use up the key."""
    # The database may be away, so the page must not ask it who is here.
    g.user = None
    return await render_template("operations/enter.html", key=request.args.get("key", ""))


@blueprint.post("/enter")
async def enter() -> ResponseReturnValue:
    """Use up the key, and admit the browser."""
    folder = outbox_folder()
    key = request.args.get("key", "")
    if folder is None or not await asyncio.to_thread(use_key, folder, key, time.time()):
        current_app.extensions[_REFUSALS].log("Refused a key for the operations pages that was used, too old or wrong")
        raise KeyRefused
    security.info("Somebody entered the operations pages by `quartblog operations link`")
    answer = redirect(url_for("operations.groups"))
    assert isinstance(answer, Response)  # noqa: S101  Quart's own
    return admit(answer, current_app.config["QUART_AUTH_COOKIE_SECURE"])
