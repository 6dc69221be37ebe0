"""A route that fails on purpose, so that an operator can watch one error travel to the inbox."""

from quart import Blueprint
from quart.typing import ResponseReturnValue
from quart_auth import current_user

from quartblog.web.csrf import csrf_exempt

blueprint = Blueprint("rehearsal", __name__, url_prefix="/errors/rehearsal")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Rehearsal(Exception):
    """Raised by the rehearsal route and by nothing else."""


@blueprint.route("", methods=METHODS)
@blueprint.route("/", methods=METHODS)
@blueprint.route("/<path:below>", methods=METHODS)
@csrf_exempt
async def rehearse(**_below: str) -> ResponseReturnValue:
    """Fail, whatever was asked."""
    # Who is asking is looked up only where a page shows it: asked for here, so that the report can tell it.
    await current_user.is_authenticated
    raise Rehearsal("this error was asked for: errors.rehearsal_route is on")
