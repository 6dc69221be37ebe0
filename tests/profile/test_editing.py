"""Editing one's own profile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from quartblog.database import Database
from quartblog.models import User
from tests.support.browsing import SignIn, Visitor
from tests.support.log_file import LogFile

UNSEEN = [
    *("\u200b", "\u2800", "\u3164", "\u115f", "\u1160", "\uffa0", "\xad", "\u034f", "\u061c", "\u180e", "\u200e"),
    *("\u2060", "\ufe0f", "\ufeff", "\ufff9", "\u0301", "\U000e0041", "\U000e0100", "\U0001d159", "\u3000"),
]
"""Characters that nobody sees."""


async def test_a_taken_username_is_explained_beside_the_field(ada: User, grace: User, sign_in: SignIn) -> None:
    page = await (await sign_in(grace)).submit("/user/edit", username="Ada", about_me="typed")

    assert page.status == 200
    assert page.errors_beside("username") == "请使用其他用户名"
    assert (page.value_of("username"), page.value_of("about_me")) == ("Ada", "typed")


async def test_a_taken_username_is_no_failure_of_the_site(
    ada: User, grace: User, sign_in: SignIn, log: LogFile
) -> None:
    await (await sign_in(grace)).submit("/user/edit", username="ada", about_me="")

    assert log.failures == []
    assert "IntegrityError" not in log.text


async def test_nothing_is_saved_where_the_name_is_taken(ada: User, grace: User, sign_in: SignIn) -> None:
    visitor = await sign_in(grace)

    await visitor.submit("/user/edit", username="ada", about_me="lost?")

    assert "lost?" not in (await visitor.get("/user/info/grace")).text
    assert (await visitor.get("/user/edit")).value_of("username") == "grace"


async def test_of_two_who_want_one_free_name_one_gets_it(ada: User, grace: User, sign_in: SignIn, log: LogFile) -> None:
    one, other = await sign_in(ada), await sign_in(grace)

    answers = await asyncio.gather(
        *(visitor.submit("/user/edit", username="hopper", about_me="") for visitor in (one, other))
    )

    assert Counter(answer.status for answer in answers) == {302: 1, 200: 1}
    (refused,) = (answer for answer in answers if answer.status == 200)
    assert refused.errors_beside("username") == "请使用其他用户名"
    assert log.failures == []


async def test_saving_is_confirmed_once(ada: User, sign_in: SignIn) -> None:
    visitor = await sign_in(ada)

    answer = await visitor.submit("/user/edit", username="ada", about_me="第一个程序员")
    page = await visitor.get(answer.location)

    assert (answer.status, answer.location) == (302, "/user/edit")
    assert "您的修改已保存" in page.text
    assert page.value_of("about_me") == "第一个程序员"
    assert "您的修改已保存" not in (await visitor.get("/user/edit")).text
    assert "第一个程序员" in (await visitor.get("/user/info/ada")).text


@pytest.mark.parametrize("username", ["ada", "Ada", "ADA", "Ａda"])
async def test_ones_own_name_is_never_taken(ada: User, sign_in: SignIn, username: str) -> None:
    visitor = await sign_in(ada)

    answer = await visitor.submit("/user/edit", username=username, about_me="new")

    assert answer.status == 302
    assert (await visitor.get("/user/edit")).value_of("username") == username.replace("Ａ", "A")


async def test_a_new_name_keeps_the_visitor_signed_in(ada: User, sign_in: SignIn) -> None:
    visitor = await sign_in(ada)

    await visitor.submit("/user/edit", username="lovelace", about_me="")

    assert "你好，lovelace！" in (await visitor.get("/")).text
    assert (await visitor.get("/user/info/lovelace")).status == 200
    assert (await visitor.get("/user/info/ada")).status == 404


@pytest.mark.parametrize(
    ("username", "explanation"),
    [
        ("", "请填写用户名"),
        ("x" * 65, "用户名最多 64 个字符"),
        ("..", "请使用字母、数字、汉字或 _ - . ，以字母、数字或汉字开头，不要混用不同的文字"),
    ],
)
async def test_a_name_that_cannot_be_is_explained(ada: User, sign_in: SignIn, username: str, explanation: str) -> None:
    page = await (await sign_in(ada)).submit("/user/edit", username=username, about_me="typed")

    assert page.status == 200
    assert page.errors_beside("username").startswith(explanation)
    assert (page.value_of("username"), page.value_of("about_me")) == (username, "typed")


@pytest.mark.parametrize("about_me", ["x" * 140, "字" * 140, "😀" * 140, "a\r\n" * 70, ""])
async def test_140_characters_fit_and_a_line_break_is_one(ada: User, sign_in: SignIn, about_me: str) -> None:
    answer = await (await sign_in(ada)).submit("/user/edit", username="ada", about_me=about_me)

    assert answer.status == 302


@pytest.mark.parametrize("unseen", ["\u200b", "\u3164\u2800", "\u0301", "\ufe0f \xad"], ids=ascii)
async def test_a_text_of_what_nobody_sees_is_none(ada: User, sign_in: SignIn, unseen: str) -> None:
    visitor = await sign_in(ada)
    await visitor.submit("/user/edit", username="ada", about_me="第一个程序员")

    await visitor.submit("/user/edit", username="ada", about_me=unseen)

    assert (await visitor.get("/user/edit")).value_of("about_me") == ""


async def test_a_name_has_nothing_that_nobody_sees(ada: User, sign_in: SignIn) -> None:
    visitor = await sign_in(ada)
    for unseen in UNSEEN:
        alone = await visitor.submit("/user/edit", username=unseen, about_me="")
        inside = await visitor.submit("/user/edit", username=f"x{unseen}x", about_me="")

        assert alone.errors_beside("username") == "请填写用户名", ascii(unseen)
        assert inside.errors_beside("username").startswith("请使用字母、数字、汉字"), ascii(unseen)


async def test_141_characters_are_explained_and_kept(ada: User, sign_in: SignIn) -> None:
    page = await (await sign_in(ada)).submit("/user/edit", username="ada", about_me="字" * 141)

    assert page.status == 200
    assert page.errors_beside("about_me").startswith("最多 140 个字符")
    assert page.value_of("about_me") == "字" * 141


async def test_what_was_typed_stays_text(ada: User, sign_in: SignIn) -> None:
    visitor = await sign_in(ada)

    await visitor.submit("/user/edit", username="ada", about_me="<script>alert(1)</script> {{ 7*7 }} %(x)s")

    page = await visitor.get("/user/info/ada")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7*7 }} %(x)s" in page.text
    assert "<script" not in page.text


async def test_a_control_character_is_refused(ada: User, sign_in: SignIn) -> None:
    page = await (await sign_in(ada)).submit("/user/edit", username="ada", about_me="a\x00b")

    assert page.status == 200
    assert page.errors_beside("about_me").startswith("请不要使用控制字符")


async def test_an_account_deleted_meanwhile_is_not_found(
    ada: User, sign_in: SignIn, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def transaction_after_the_deletion() -> AsyncIterator[AsyncSession]:
        async with database.transaction() as session:
            await session.execute(delete(User))
        async with database.transaction() as session:
            yield session

    monkeypatch.setattr("quartblog.profile.views.transaction", transaction_after_the_deletion)

    page = await (await sign_in(ada)).submit("/user/edit", username="ada", about_me="")

    assert page.status == 404


async def test_who_is_not_signed_in_edits_nothing(visitor: Visitor) -> None:
    assert (await visitor.get("/user/edit")).location == "/login?next=/user/edit"
    answer = await visitor.submit("/user/edit", username="ada", about_me="")
    assert (answer.status, answer.location) == (302, "/login")
