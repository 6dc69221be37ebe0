"""Request -> an administrator's view of this host's outbox, or a sign-in, or a refusal."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast

from quart import Quart, abort, current_app, g
from quart.typing import ResponseReturnValue

from quartblog.auth import service
from quartblog.auth.visitor import required_user
from quartblog.database import reading
from quartblog.delivery import AsyncOutbox, Delivery
from quartblog.operations.health import DELIVERY
from quartblog.web.seldom import Seldom

logger = logging.getLogger(__name__)

_REFUSALS = "quartblog.refused_operators"


def init_app(app: Quart) -> None:
    """Prepare the record of refusals."""
    app.extensions[_REFUSALS] = Seldom(logger, logging.INFO)


def for_administrators(view: Callable[..., Awaitable[ResponseReturnValue]]) -> Callable[..., Any]:
    """Let administrators pass; send strangers to sign in, and answer other members with 403."""

    @wraps(view)
    async def guarded(**values: Any) -> ResponseReturnValue:
        user = await required_user()
        async with reading() as connection:
            is_admin = await service.is_admin(connection, user.id)
        if not is_admin:
            current_app.extensions[_REFUSALS].log("Refused the operations pages to a member who is no administrator")
            abort(403)
        g.operator = user.username
        return await view(**values)

    return guarded


def delivery() -> Delivery:
    """Return the delivery of this process."""
    return cast("Delivery", current_app.extensions[DELIVERY])


def store() -> AsyncOutbox:
    """Return the outbox; answer 503 while the delivery does not run."""
    outbox = delivery().outbox
    if outbox is None:
        abort(503)
    return AsyncOutbox(outbox)
