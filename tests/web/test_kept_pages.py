"""Pages of kept pieces: they age, and an address that nobody linked adds no piece."""

import time
from typing import Any

import pytest
from markupsafe import Markup
from quart import Quart

from quartblog.database import Database
from quartblog.models import User
from quartblog.posts import service
from tests.support.browsing import Visitor


@pytest.mark.parametrize("path", ["/", "/user/info/ada"])
async def test_a_kept_page_ages(
    ada: User, database: Database, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async with database.transaction() as session:
        await service.publish(session, ada.id, "the news")
    fresh = await visitor.get(path)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3 * 3600)

    aged = await visitor.get(path)

    assert "3小时前" not in fresh.text
    # The post's, and on the profile also the person's last visit.
    assert aged.text.count("3小时前") == (1 if path == "/" else 2)


async def test_an_address_that_nobody_linked_adds_no_piece(ada: User, app: Quart, visitor: Visitor) -> None:
    pieces: Any = app.jinja_env.globals["piece"]
    asked: set[Any] = set()

    async def noting(template: str, **values: Any) -> Markup:
        asked.add((template, *values.items()))
        piece: Markup = await pieces(template, **values)
        return piece

    app.jinja_env.globals["piece"] = noting
    for path in ("/", "/login", "/user/info/ada"):
        await visitor.get(path)
    known = asked.copy()

    for path in ("/login?next=/one", "/login?next=/two", "/user/info/ADA", "/user/info/Ada", "/?x=1", "/login?x=1"):
        await visitor.get(path)

    assert asked == known
