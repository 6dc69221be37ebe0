"""/healthz: the process answers. /readyz: so do the database and the delivery."""

from quart import Blueprint, current_app, jsonify
from quart.typing import ResponseReturnValue

from quartblog.database import database
from quartblog.delivery import Delivery
from quartblog.errors.exceptions import DatabaseUnavailable

blueprint = Blueprint("health", __name__)

DELIVERY = "quartblog.delivery"


@blueprint.get("/healthz")
async def alive() -> ResponseReturnValue:
    """200 as long as the event loop turns."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
async def ready() -> ResponseReturnValue:
    """200 where every part answers, else 503; the body tells which does not."""
    delivery: Delivery = current_app.extensions[DELIVERY]
    parts = {"database": await _database_answers(), "delivery": delivery.healthy}
    status = "ok" if all(parts.values()) else "unavailable"
    body = {"status": status, **{name: "ok" if answers else "unavailable" for name, answers in parts.items()}}
    return jsonify(body), 200 if status == "ok" else 503


async def _database_answers() -> bool:
    try:
        await database().ping()
    except DatabaseUnavailable as error:
        # A probe asks every few seconds: the visitors' own errors tell the operator, this only answers.
        current_app.logger.info("Not ready: %s", error.__cause__)
        return False
    return True
