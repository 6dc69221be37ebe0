"""Saying something."""

import pytest
from sqlalchemy import select

from quartblog.database import Database
from quartblog.models import Post, User
from tests.support.browsing import SignIn, Visitor


async def bodies(database: Database) -> list[str]:
    async with database.reading() as session:
        return list(await session.scalars(select(Post.body).order_by(Post.id)))


async def test_a_post_stands_first_on_the_home_page(ada: User, grace: User, sign_in: SignIn, visitor: Visitor) -> None:
    await (await sign_in(grace)).submit("/", body="hello from grace")
    answer = await (await sign_in(ada)).submit("/", body="你好，世界")

    page = await visitor.get("/")

    assert (answer.status, answer.location) == (302, "/")
    assert page.text.index("你好，世界") < page.text.index("hello from grace")
    assert page.text.count('href="/user/info/ada"') == 2


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("x", "x"),
        ("字" * 140, "字" * 140),
        ("😀" * 140, "😀" * 140),
        ("  a\r\n\r\nb  ", "a\n\nb"),
        ("a\r\n" * 70 + "   ", ("a\n" * 70).strip()),
        ("e\u0301", "é"),
    ],
)
async def test_1_to_140_characters_are_published(
    ada: User, sign_in: SignIn, database: Database, typed: str, kept: str
) -> None:
    answer = await (await sign_in(ada)).submit("/", body=typed)

    assert answer.status == 302
    assert await bodies(database) == [kept]


@pytest.mark.parametrize(
    ("typed", "explanation"),
    [
        ("", "请先写点什么"),
        (" \r\n\t ", "请先写点什么"),
        ("字" * 141, "最多 140 个字符"),
        ("a\x07b", "请不要使用控制字符"),
    ],
)
async def test_what_cannot_be_published_is_explained_and_kept(
    ada: User, sign_in: SignIn, database: Database, typed: str, explanation: str
) -> None:
    page = await (await sign_in(ada)).submit("/", body=typed)

    assert page.status == 200
    assert page.errors_beside("body").startswith(explanation)
    assert page.value_of("body") == typed.strip()
    assert await bodies(database) == []


async def test_markup_in_a_post_stays_text(ada: User, sign_in: SignIn, visitor: Visitor) -> None:
    await (await sign_in(ada)).submit("/", body='<img src=x onerror="alert(1)"> & {{ config }}')

    page = await visitor.get("/")

    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt; &amp; {{ config }}" in page.text


async def test_who_is_not_signed_in_is_sent_to_sign_in(visitor: Visitor, database: Database) -> None:
    assert 'name="body"' not in (await visitor.get("/")).text

    answer = await visitor.submit("/", form_on="/login", body="hello")

    # What was posted is lost, so the way leads home and not to a page that only takes posts.
    assert (answer.status, answer.location) == (302, "/login")
    assert await bodies(database) == []


async def test_the_original_greets(visitor: Visitor) -> None:
    page = await visitor.get("/hello")

    assert page.status == 200
    assert page.text == "Hello, World!"
    assert page.headers["Content-Type"] == "text/plain; charset=utf-8"
