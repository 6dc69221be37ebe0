"""Health probe -> /healthz says that the process runs; /readyz says whether it can serve pages, and what is degraded.

A load balancer removes a site that answers 503, so only an unavailable database causes one. An unwritable log file, an
outbox in memory, a full outbox that dropped errors or mails within the last hour, an ended thread and a worker that
stands still appear in the body of a 200, without paths. Probes wait neither for the outbox's disk nor for the mail
server.
"""

import logging

from quart import Blueprint, current_app, jsonify
from quart.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from quartblog.database import reading
from quartblog.delivery import Delivery, current_scope
from quartblog.errors.exceptions import DatabaseUnavailable
from quartblog.models import Post, User

logger = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)

# Rows that a page shows: a database without tables, or a damaged one, answers SELECT 1.
_NEWEST = select(Post.id, User.username).join(Post.author).order_by(Post.id.desc()).limit(1)

DELIVERY = "quartblog.delivery"
PATHS = (ALIVE, READY) = ("/healthz", "/readyz")
OK, UNAVAILABLE = "ok", "unavailable"


@blueprint.get(ALIVE)
async def alive() -> ResponseReturnValue:
    """Answer 200 as long as the event loop runs."""
    return jsonify(status="ok")


@blueprint.get(READY)
async def ready() -> ResponseReturnValue:
    """Answer 200 if the database answers, else 503; the body has the state of each part."""
    delivery = reasons(current_app.extensions[DELIVERY])
    if not await _database_answers():
        scope = current_scope()
        error_id = scope.error_id if scope else None
        return jsonify(status=UNAVAILABLE, database=UNAVAILABLE, delivery=delivery, error_id=error_id), 503
    return jsonify(status=OK if delivery == OK else "degraded", database=OK, delivery=delivery)


def reasons(delivery: Delivery) -> str:
    """Return why a delivery is degraded, without paths, which outsiders must not see; OK if it is not."""
    memory = "outbox in memory" if delivery.degraded else None
    silence = [f"a worker has been silent for {worker.silent:.0f} s" for worker in delivery.hanging]
    return "; ".join(filter(None, (delivery.problem, memory, *delivery.recent_losses, *silence))) or OK


async def _database_answers() -> bool:
    try:
        async with reading() as connection:
            await connection.execute(_NEWEST)
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        # INFO, because probes come every few seconds; the visitors' failed requests make the error records.
        logger.info("Not ready: %s", error.__cause__ or error)
        return False
    return True
