"""Health probe -> /healthz says that the process runs; /readyz says whether it can serve pages, and what is degraded.

A load balancer removes a site that answers 503, so only an unavailable database causes one. An unwritable log file, an
outbox in memory, an ended thread and a worker that stands still appear in the body of a 200, without paths. Probes do
not check the mail server.
"""

import asyncio
import logging
from collections.abc import Iterator

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
    """Answer 200 as long as the event loop runs."""
    return jsonify(status="ok")


@blueprint.get(READY)
async def ready() -> ResponseReturnValue:
    """Answer 200 if the database answers, else 503; the body has the state of each part."""
    # In a thread: it reads the outbox.
    delivery = await asyncio.to_thread(_state, current_app.extensions[DELIVERY])
    if not await _database_answers():
        scope = current_scope()
        error_id = scope.error_id if scope else None
        return jsonify(status=UNAVAILABLE, database=UNAVAILABLE, delivery=delivery, error_id=error_id), 503
    return jsonify(status=OK if delivery == OK else "degraded", database=OK, delivery=delivery)


def _state(delivery: Delivery) -> str:
    """Return the reasons without paths, which outsiders must not see."""
    memory = "outbox in memory" if delivery.degraded else None
    return "; ".join(filter(None, (delivery.problem, memory, *_silence(delivery)))) or OK


def _silence(delivery: Delivery) -> Iterator[str]:
    """Yield a reason for each worker of this host that runs but sends no heartbeat, such as a suspended one."""
    for worker in delivery.outbox.workers() if delivery.outbox else ():
        if worker.hangs:
            yield f"a worker has been silent for {worker.silent:.0f} s"


async def _database_answers() -> bool:
    try:
        await database().ping()
    except DatabaseUnavailable as error:
        # INFO, because probes come every few seconds; the visitors' failed requests make the error records.
        logger.info("Not ready: %s", error.__cause__)
        return False
    return True
