"""/healthz: the process answers. /readyz: so do the database and the delivery."""

import logging

from quart import Blueprint, current_app, jsonify
from quart.typing import ResponseReturnValue

from quartblog.database import database
from quartblog.delivery import Delivery, current_scope
from quartblog.errors.exceptions import DatabaseUnavailable

logger = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)

DELIVERY = "quartblog.delivery"
PATHS = (ALIVE, READY) = ("/healthz", "/readyz")


@blueprint.get(ALIVE)
async def alive() -> ResponseReturnValue:
    """200 as long as the event loop turns."""
    return jsonify(status="ok")


@blueprint.get(READY)
async def ready() -> ResponseReturnValue:
    """200 where every part answers, else 503; the body tells which does not."""
    delivery: Delivery = current_app.extensions[DELIVERY]
    parts = {"database": await _database_answers(), "delivery": delivery.healthy}
    body = {name: "ok" if answers else "unavailable" for name, answers in parts.items()}
    if all(parts.values()):
        return jsonify(status="ok", **body)
    if not delivery.healthy:
        # The file is tried again by a record alone, and a site taken out of service may have no other.
        logger.info("Not ready: the last record did not reach the log file")
    scope = current_scope()
    return jsonify(status="unavailable", **body, error_id=scope.error_id if scope else None), 503


async def _database_answers() -> bool:
    try:
        await database().ping()
    except DatabaseUnavailable as error:
        # A probe asks every few seconds: the visitors' own errors tell the operator, this only answers.
        logger.info("Not ready: %s", error.__cause__)
        return False
    return True
