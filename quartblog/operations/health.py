"""/healthz: the process answers. /readyz: so do the database and the delivery.

An outbox that cannot be used takes no site down: errors are counted and mails leave as before, only would they not
survive the process. /readyz says "in memory" then, and 200. A mail server that is away is no matter of a probe either.
"""

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
UNAVAILABLE = "unavailable"


@blueprint.get(ALIVE)
async def alive() -> ResponseReturnValue:
    """200 as long as the event loop turns."""
    return jsonify(status="ok")


@blueprint.get(READY)
async def ready() -> ResponseReturnValue:
    """200 where every part serves, else 503; the body tells each one's state: ok, unavailable, or in memory."""
    parts = {
        "database": "ok" if await _database_answers() else UNAVAILABLE,
        "delivery": _state(current_app.extensions[DELIVERY]),
    }
    if UNAVAILABLE not in parts.values():
        return jsonify(status="ok", **parts)
    if parts["delivery"] == UNAVAILABLE:
        logger.info("Not ready: the last record did not reach the log file, or a thread of the delivery has ended")
    scope = current_scope()
    return jsonify(status=UNAVAILABLE, **parts, error_id=scope.error_id if scope else None), 503


def _state(delivery: Delivery) -> str:
    if not delivery.healthy:
        return UNAVAILABLE
    return "in memory" if delivery.degraded else "ok"


async def _database_answers() -> bool:
    try:
        await database().ping()
    except DatabaseUnavailable as error:
        # A probe asks every few seconds: the visitors' own errors tell the operator, this only answers.
        logger.info("Not ready: %s", error.__cause__)
        return False
    return True
