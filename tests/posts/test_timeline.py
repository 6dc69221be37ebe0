"""Reading backwards and forwards, a page at a time."""

import re

import pytest

from quartblog.database import Database
from quartblog.models import User
from quartblog.posts import service
from quartblog.posts.service import PAGE_SIZE, timeline
from tests.support.browsing import Page, Visitor


async def publish(database: Database, author: User, count: int) -> list[int]:
    """Add so many posts; return their keys, newest first."""
    async with database.transaction() as session:
        return [(await service.publish(session, author.id, "something")).id for _ in range(count)][::-1]


def shown(page: Page) -> list[int]:
    """The keys of the posts on a page, in order."""
    return [int(key) for key in re.findall(r'<li id="post-(\d+)"', page.text)]


async def walk(visitor: Visitor, path: str, direction: str) -> list[list[int]]:
    """The keys on each page from `path` on."""
    pages = []
    while path:
        page = await visitor.get(path)
        assert page.status == 200
        pages.append(shown(page))
        path = page.link(direction)
    return pages


@pytest.mark.parametrize("count", [1, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE, 3 * PAGE_SIZE + 5])
async def test_going_back_shows_every_post_once(ada: User, database: Database, visitor: Visitor, count: int) -> None:
    keys = await publish(database, ada, count)

    pages = await walk(visitor, "/", "next")

    assert [key for page in pages for key in page] == keys
    assert [len(page) for page in pages[:-1]] == [PAGE_SIZE] * (len(pages) - 1)
    assert pages[-1]


async def test_coming_forward_again_shows_every_post_once(ada: User, database: Database, visitor: Visitor) -> None:
    keys = await publish(database, ada, 3 * PAGE_SIZE + 5)

    pages = await walk(visitor, f"/?after={keys[-1]}", "prev")

    assert [key for page in reversed(pages) for key in page] == keys[:-1]


async def test_new_posts_do_not_shift_the_pages(ada: User, database: Database, visitor: Visitor) -> None:
    keys = await publish(database, ada, 3 * PAGE_SIZE)
    first = await visitor.get("/")

    added = await publish(database, ada, 7)
    second = await visitor.get(first.link("next"))
    back = await visitor.get(second.link("prev"))

    assert shown(first) + shown(second) == keys[: 2 * PAGE_SIZE]
    assert shown(back) == keys[:PAGE_SIZE]
    assert shown(await visitor.get(back.link("prev"))) == added


async def test_an_empty_site_says_so(visitor: Visitor) -> None:
    page = await visitor.get("/")

    assert "这里还没有内容" in page.text
    assert page.link("next") == page.link("prev") == ""


async def test_a_silly_key_asks_for_the_newest(ada: User, database: Database, visitor: Visitor) -> None:
    keys = await publish(database, ada, 3)

    for query in (
        *("before=x", "before=", "before=-1", "before=1.5", "before=%D9%A1", "before=99999999999999999999"),
        *("before=1e9", "after=%00", "after=%FF", "before[]=1", "page=7"),
    ):
        page = await visitor.get(f"/?{query}")

        assert page.status == 200, query
        assert shown(page) == keys, query


@pytest.mark.parametrize("query", ["before=0", "before=1", "after=4", "after=9999999999"])
@pytest.mark.parametrize("path", ["/", "/user/info/ada"])
async def test_beyond_either_end_are_the_newest(
    ada: User, database: Database, visitor: Visitor, path: str, query: str
) -> None:
    keys = await publish(database, ada, PAGE_SIZE + 1)

    page = await visitor.get(f"{path}?{query.replace('4', str(keys[0]))}")

    assert page.status == 200
    assert shown(page) == keys[:PAGE_SIZE]
    assert page.link("prev") == ""


async def test_a_page_is_one_statement(ada: User, database: Database, statements: list[str]) -> None:
    await publish(database, ada, PAGE_SIZE)
    statements.clear()

    async with database.reading() as connection:
        page = await timeline(connection)

    assert {post.author for post in page.posts} == {"ada"}
    assert len(statements) == 1
