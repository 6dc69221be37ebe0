"""A person's page."""

import pytest

from quartblog.database import Database
from quartblog.models import User
from quartblog.posts import service as posts
from tests.support.browsing import SignIn, Visitor
from tests.support.log_file import LogFile


@pytest.mark.parametrize("spelling", ["ada", "ADA", "%EF%BC%A1da"])
async def test_a_person_is_found_in_any_spelling(ada: User, visitor: Visitor, spelling: str) -> None:
    page = await visitor.get(f"/user/info/{spelling}")

    assert page.status == 200
    assert "<h1>ada</h1>" in page.text
    assert "最近来访：" in page.text


@pytest.mark.parametrize("name", ["nobody", "..", "a%2Fb", "%00", "%FF", "a%0Ab", "x" * 500])
async def test_nobody_by_that_name_is_a_404(visitor: Visitor, log: LogFile, name: str) -> None:
    page = await visitor.get(f"/user/info/{name}")

    assert page.status == 404
    assert "网页未找到" in page.text
    assert log.failures == []


async def test_only_the_persons_own_posts_are_listed_newest_first(
    ada: User, grace: User, database: Database, visitor: Visitor
) -> None:
    async with database.transaction() as session:
        for author, body in ((ada, "ada's first"), (grace, "grace's"), (ada, "ada's second")):
            await posts.publish(session, author.id, body)

    page = await visitor.get("/user/info/ada")

    assert "grace" not in page.text
    assert page.text.index("ada&#39;s second") < page.text.index("ada&#39;s first")


async def test_older_posts_of_a_person_are_a_page_away(
    ada: User, grace: User, database: Database, visitor: Visitor
) -> None:
    async with database.transaction() as session:
        for number in range(posts.PAGE_SIZE + 1):
            await posts.publish(session, ada.id, f"no. {number}.")
            await posts.publish(session, grace.id, "between")

    first = await visitor.get("/user/info/ada")
    second = await visitor.get(first.link("next"))

    assert "no. 0." not in first.text
    assert "no. 0." in second.text
    assert "between" not in first.text + second.text
    assert second.link("prev").startswith("/user/info/ada?after=")


async def test_only_oneself_is_offered_to_edit(ada: User, grace: User, sign_in: SignIn, visitor: Visitor) -> None:
    own = await sign_in(ada)

    assert 'href="/user/edit"' in (await own.get("/user/info/ada")).text
    assert 'href="/user/edit"' not in (await own.get("/user/info/grace")).text
    assert 'href="/user/edit"' not in (await visitor.get("/user/info/ada")).text


async def test_visitors_without_an_account_write_nothing(ada: User, visitor: Visitor, statements: list[str]) -> None:
    await visitor.get("/user/info/ada")

    assert {statement.split()[0] for statement in statements} == {"SELECT"}
