"""A route that fails on purpose, so that an operator can watch one error travel to the inbox."""

from quart import Blueprint
from quart.typing import ResponseReturnValue
from quart_auth import current_user

from quartblog.web.origin import from_anywhere

blueprint = Blueprint("rehearsal", __name__, url_prefix="/errors/rehearsal")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Rehearsal(Exception):
    """The exception of the rehearsal route."""


@blueprint.route("", methods=METHODS)
@blueprint.route("/", methods=METHODS)
@blueprint.route("/<path:below>", methods=METHODS)
@from_anywhere
async def rehearse(**_below: str) -> ResponseReturnValue:
    """Raise Rehearsal for every method and path."""
    # Look the user up, so that the error record has the user id.
    await current_user.is_authenticated
    raise Rehearsal("this error is a rehearsal: errors.rehearsal_route is on")
