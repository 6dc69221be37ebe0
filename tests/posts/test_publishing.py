"""Saying something."""

import sys
import unicodedata

import pytest
from sqlalchemy import select

from quartblog.database import Database
from quartblog.models import Post, User
from quartblog.web.forms import has_visible_character
from tests.support.browsing import SignIn, Visitor

INVISIBLE = [
    *("\u200b", "\u2800", "\u3164", "\u115f\u1160", "\uffa0", "\xad", "\u200d\ufeff", "\u200e\u200f\u061c"),
    *("\u202e\u2066", "\u2060\u2064", "\u180e\u180b", "\ufe0f", "\U000e0100", "\U000e0041\U000e007f", "\u034f"),
    *("\u0301\u20dd", "\u17b4", "\xa0\u3000\u1680\u2003", "\u2028\u2029", "\ufff9\ufffb", "\U0001d159\U0001d173"),
    *("\ufffe\ufdd0", " \u200b\r\n\u3164\t", "\u200b" * 200),
]
"""Texts of which nobody sees anything."""
VISIBLE = ["👩\u200d💻", "❤\ufe0f", "e\u0301\u0302", "क\u094d\u200dष", "\u200b.", "⠁", "ㅎ", "\ue000", "·"]
"""Texts of which somebody sees something."""


async def bodies(database: Database) -> list[str]:
    async with database.transaction() as session:
        return list(await session.scalars(select(Post.body).order_by(Post.id)))


async def test_a_post_stands_first_on_the_home_page(ada: User, grace: User, sign_in: SignIn, visitor: Visitor) -> None:
    await (await sign_in(grace)).submit("/", body="hello from grace")
    answer = await (await sign_in(ada)).submit("/", body="你好，世界")

    page = await visitor.get("/")

    assert (answer.status, answer.location) == (302, "/")
    assert page.text.index("你好，世界") < page.text.index("hello from grace")
    assert page.text.count('href="/user/info/ada"') == 2


@pytest.mark.parametrize(("path", "field"), [("/", "body"), ("/user/edit", "about_me")])
async def test_the_form_says_how_many_characters_are_allowed(ada: User, sign_in: SignIn, path: str, field: str) -> None:
    page = await (await sign_in(ada)).get(path)

    assert f'<p class="hint" id="{field}-hint">最多 140 个字符</p>' in page.text
    assert f'aria-describedby="{field}-hint"' in page.text


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


async def test_a_post_of_what_nobody_sees_is_empty(ada: User, sign_in: SignIn, database: Database) -> None:
    visitor = await sign_in(ada)
    for typed in INVISIBLE:
        page = await visitor.submit("/", body=typed)

        assert page.status == 200, ascii(typed)
        assert page.errors_beside("body") == "请先写点什么", ascii(typed)
        assert await bodies(database) == [], ascii(typed)


async def test_one_visible_character_is_enough_and_all_are_kept(ada: User, sign_in: SignIn, database: Database) -> None:
    visitor = await sign_in(ada)
    for number, typed in enumerate(VISIBLE):
        answer = await visitor.submit("/", body=typed)

        assert answer.status == 302, ascii(typed)
        assert (await bodies(database))[number:] == [unicodedata.normalize("NFC", typed)], ascii(typed)


def test_every_letter_number_and_punctuation_mark_is_visible() -> None:
    fillers = {"\u115f", "\u1160", "\u3164", "\uffa0", "\U00013441", "\U00013442"}
    letters = [letter for letter in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(letter)[0] in "LNP"]

    assert {letter for letter in letters if not has_visible_character(letter)} <= fillers


async def test_markup_in_a_post_stays_text(ada: User, sign_in: SignIn, visitor: Visitor) -> None:
    await (await sign_in(ada)).submit("/", body='<img src=x onerror="alert(1)"> & {{ config }}')

    page = await visitor.get("/")

    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt; &amp; {{ config }}" in page.text


async def test_who_is_not_signed_in_is_sent_to_sign_in(visitor: Visitor, database: Database) -> None:
    assert 'name="body"' not in (await visitor.get("/")).text

    answer = await visitor.submit("/", body="hello")

    # What was posted is lost, so the way leads home and not to a page that only takes posts.
    assert (answer.status, answer.location) == (302, "/login")
    assert await bodies(database) == []


async def test_the_original_greets(visitor: Visitor) -> None:
    page = await visitor.get("/hello")

    assert page.status == 200
    assert page.text == "Hello, World!"
    assert page.headers["Content-Type"] == "text/plain; charset=utf-8"
