"""What a page costs the database: round trips are what takes the time, so they are counted."""

import pytest

from quartblog.database import Database
from quartblog.models import User
from quartblog.posts import service
from tests.support.browsing import SignIn, Visitor

AT_MOST = 3


@pytest.mark.parametrize("path", ["/", "/user/info/ada", "/user/info/grace", "/user/edit", "/?before=40"])
@pytest.mark.parametrize("count", [0, 1, 60])
async def test_a_signed_in_page_needs_few_statements(
    *,
    ada: User,
    grace: User,
    database: Database,
    sign_in: SignIn,
    statements: list[str],
    path: str,
    count: int,
) -> None:
    async with database.transaction() as session:
        for number in range(count):
            await service.publish(session, (ada, grace)[number % 2].id, f"no. {number}")
    visitor = await sign_in(ada)
    statements.clear()

    page = await visitor.get(path)

    assert page.status == 200
    assert 1 <= len(statements) <= AT_MOST, statements


@pytest.mark.parametrize(
    "path", ["/hello", "/login", "/register", "/healthz", "/static/quartblog.css", "/nowhere", "/errors/rehearsal"]
)
async def test_what_shows_no_rows_asks_for_none(visitor: Visitor, statements: list[str], path: str) -> None:
    await visitor.get(path)

    assert statements == []


async def test_who_is_signed_in_costs_one_statement(ada: User, sign_in: SignIn, statements: list[str]) -> None:
    visitor = await sign_in(ada)
    statements.clear()

    await visitor.get("/login")

    assert len(statements) == 1
