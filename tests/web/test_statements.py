"""What a page costs the database: round trips are what takes the time, so they are counted."""

import pytest
from quart import Quart

from quartblog.database import Database
from quartblog.models import User
from quartblog.posts import service
from tests.support.browsing import SignIn, Visitor

# The statements of each page that shows rows, to a signed-in visitor. Who that is takes one.
PAGES = {
    ("/", 2),
    ("/?before=40", 2),
    ("/user/info/ada", 3),
    ("/user/info/grace", 3),
    ("/user/edit", 1),
    ("/account", 3),
}
# Rules of pages that show no rows.
WITHOUT_ROWS = {
    *("/hello", "/login", "/logout", "/register", "/healthz", "/readyz", "/metrics", "/static/<path:filename>"),
    # Of the blog's database they need who is signed in, and whether that is an administrator.
    *(
        "/operations",
        "/operations/delivery",
        "/operations/enter",
        "/operations/errors",
        "/operations/errors/<int(signed=True):group_id>",
        "/operations/errors/<int(signed=True):group_id>.md",
    ),
    *("/errors/rehearsal", "/errors/rehearsal/", "/errors/rehearsal/<path:below>"),
}


@pytest.mark.parametrize(("path", "needed"), sorted(PAGES))
@pytest.mark.parametrize("count", [0, 1, 60])
async def test_a_signed_in_page_needs_few_statements(
    *,
    ada: User,
    grace: User,
    database: Database,
    sign_in: SignIn,
    statements: list[str],
    path: str,
    needed: int,
    count: int,
) -> None:
    async with database.transaction() as session:
        for number in range(count):
            await service.publish(session, (ada, grace)[number % 2].id, f"no. {number}")
    visitor = await sign_in(ada)
    statements.clear()

    page = await visitor.get(path)

    assert page.status == 200
    # Beyond the oldest post it is the newest page that is shown.
    assert len(statements) == needed + (path == "/?before=40" and count == 0), statements


def test_the_statements_of_every_page_are_counted(app: Quart) -> None:
    adapter = app.url_map.bind("localhost")
    counted = {adapter.match(path.partition("?")[0], return_rule=True)[0].rule for path, _ in PAGES}
    rules = {rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}

    assert rules == counted | WITHOUT_ROWS, "add the page to PAGES, with its number of statements"


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
