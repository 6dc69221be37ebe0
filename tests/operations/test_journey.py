"""From the id that a visitor quotes to the group that is resolved, comes back, and is muted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from quart import Quart

from quartblog.auth import service
from quartblog.operations.health import DELIVERY
from tests.support.browsing import Visitor

if TYPE_CHECKING:
    from quartblog.database import Database
    from quartblog.delivery import Delivery
    from quartblog.models import User
    from tests.support.browsing import SignIn


async def test_an_error_goes_from_the_visitor_to_the_administrator_and_back(
    app: Quart, ada: User, database: Database, sign_in: SignIn
) -> None:
    delivery = cast("Delivery", app.extensions[DELIVERY])
    async with database.transaction() as session:
        await service.set_admin(session, ada.id, admin=True)
    visitor, admin = Visitor(app), await sign_in(ada)

    async def fail() -> str:
        answer = await visitor.get("/errors/rehearsal")
        assert answer.status == 500
        assert await asyncio.to_thread(delivery.drain)
        return answer.headers["X-Error-Id"]

    quoted = await fail()
    group = (await admin.get(f"/operations/errors?q={quoted}")).location.partition("?")[0]
    page = await admin.get(group)
    assert "Rehearsal" in page.text
    assert quoted in page.text
    assert "in rehearse" in page.text

    await admin.submit(group, action="note", note="a rehearsal, nothing else")
    await admin.submit(group, action="resolve")
    assert "没有未解决的错误" in (await admin.get("/operations/errors")).text
    again = await fail()
    page = await admin.get(f"{group}?error={again}")
    assert "再次发生" in page.text
    assert "a rehearsal, nothing else" in page.text
    assert group in (await admin.get("/operations/errors")).text

    await admin.submit(group, action="mute", span="1h", more="10")
    for _ in range(10):
        await fail()
    assert "没有未解决的错误" in (await admin.get("/operations/errors?state=open")).text
    last = await fail()
    assert "静音结束" in (await admin.get(group)).text
    assert (await admin.get(f"/operations/errors?q={last}")).location.startswith(group)
    assert (await admin.get(f"/operations/errors?q={quoted}")).location.startswith(group)
