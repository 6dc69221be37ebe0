"""An administrator, and the outbox behind the operations pages."""

from typing import cast

import pytest
from quart import Quart

from quartblog.auth import service
from quartblog.database import Database
from quartblog.delivery import Delivery, Outbox
from quartblog.models import User
from quartblog.operations.health import DELIVERY
from tests.support.browsing import SignIn, Visitor


@pytest.fixture
def outbox(app: Quart) -> Outbox:
    """The outbox of the running app."""
    outbox = cast("Delivery", app.extensions[DELIVERY]).outbox
    assert outbox is not None
    return outbox


@pytest.fixture
async def admin(ada: User, database: Database, sign_in: SignIn) -> Visitor:
    """Ada, who is an administrator."""
    async with database.transaction() as session:
        await service.set_admin(session, ada.id, admin=True)
    return await sign_in(ada)
