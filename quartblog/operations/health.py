"""/healthz: the process answers. /readyz: pages can be served, and what is degraded.

A balancer takes a site away that answers 503, so only what keeps pages away is one: the database. A log file that
cannot be written, an outbox that is in memory and a thread that has ended are named in the body of a 200, without
paths. A mail server that is away is no matter of a probe.
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
OK, UNAVAILABLE = "ok", "unavailable"


@blueprint.get(ALIVE)
async def alive() -> ResponseReturnValue:
    """200 as long as the event loop turns."""
    return jsonify(status="ok")


@blueprint.get(READY)
async def ready() -> ResponseReturnValue:
    """200 where pages can be served, else 503; the body names each part's state, and "degraded" where one is not ok."""
    delivery = _state(current_app.extensions[DELIVERY])
    if not await _database_answers():
        scope = current_scope()
        error_id = scope.error_id if scope else None
        return jsonify(status=UNAVAILABLE, database=UNAVAILABLE, delivery=delivery, error_id=error_id), 503
    return jsonify(status=OK if delivery == OK else "degraded", database=OK, delivery=delivery)


def _state(delivery: Delivery) -> str:
    """The reasons without a path, which is nobody's business who asks from outside."""
    memory = "outbox in memory" if delivery.degraded else None
    return "; ".join(filter(None, (delivery.problem, memory))) or OK


async def _database_answers() -> bool:
    try:
        await database().ping()
    except DatabaseUnavailable as error:
        # A probe asks every few seconds: the visitors' own errors tell the operator, this only answers.
        logger.info("Not ready: %s", error.__cause__)
        return False
    return True
