"""Opening an account."""

import asyncio
from collections import Counter

import pytest
from quart import Quart
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from quartblog.auth import service
from quartblog.database import Database
from quartblog.models import User
from tests.support.browsing import PASSWORD, Page, Serve, SignIn, Visitor
from tests.support.log_file import LogFile


async def register(visitor: Visitor, **changed: str) -> Page:
    fields = {"username": "lin", "email": "lin@example.com", "password": PASSWORD, "password2": PASSWORD}
    return await visitor.submit("/register", **{**fields, **changed})


async def accounts(database: Database) -> int:
    async with database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(User)) or 0


async def test_a_new_account_is_congratulated_and_can_sign_in(visitor: Visitor) -> None:
    answer = await register(visitor)
    page = await visitor.get(answer.location)

    assert (answer.status, answer.location) == (302, "/login")
    assert "祝贺，你现在已成为一个注册用户！" in page.text
    assert (await visitor.submit("/login", username="lin", password=PASSWORD)).location == "/"
    assert "你好，lin！" in (await visitor.get("/")).text


async def test_neither_password_nor_token_is_kept_in_the_database(visitor: Visitor, database: Database) -> None:
    await register(visitor)
    await visitor.submit("/login", username="lin", password=PASSWORD)

    async with database.transaction() as session:
        (user,) = await session.scalars(select(User))
    assert user.password_hash.startswith("scrypt:")
    assert PASSWORD not in user.password_hash


@pytest.mark.parametrize("spelling", ["ada", "Ada", "ＡＤＡ", " ada "])
async def test_a_taken_name_is_explained_in_any_spelling(ada: User, visitor: Visitor, spelling: str) -> None:
    page = await register(visitor, username=spelling)

    assert page.status == 200
    assert page.errors_beside("username") == "该用户名已被使用"
    assert page.value_of("username") == spelling.strip()
    assert page.value_of("email") == "lin@example.com"
    assert page.value_of("password") == ""


async def test_a_taken_address_is_explained_in_any_letter_case(ada: User, visitor: Visitor, log: LogFile) -> None:
    page = await register(visitor, email="ADA@Example.COM")

    assert page.status == 200
    assert page.errors_beside("email") == "该邮箱已被使用"
    assert log.failures == []


async def test_twenty_registrations_of_one_name_give_one_account(app: Quart, database: Database, log: LogFile) -> None:
    answers = await asyncio.gather(*(register(Visitor(app), email=f"lin{n}@example.com") for n in range(20)))

    assert Counter(answer.status for answer in answers) == {302: 1, 200: 19}
    refused = [answer for answer in answers if answer.status == 200]
    assert {answer.errors_beside("username") for answer in refused} == {"该用户名已被使用"}
    assert await accounts(database) == 1
    assert log.failures == []


async def test_registrations_of_one_address_give_one_account(app: Quart, database: Database) -> None:
    answers = await asyncio.gather(*(register(Visitor(app), username=f"lin{n}") for n in range(5)))

    refused = [answer for answer in answers if answer.status == 200]
    assert [answer.errors_beside("email") for answer in refused] == ["该邮箱已被使用"] * 4
    assert await accounts(database) == 1


@pytest.mark.parametrize(
    ("field", "value", "explanation"),
    [
        ("username", "", "请填写用户名"),
        ("username", "   ", "请填写用户名"),
        ("username", "x" * 65, "用户名最多 64 个字符"),
        ("username", "a/b", "请使用字母、数字、汉字或 _ - . ，以字母、数字或汉字开头，不要混用不同的文字"),
        ("email", "", "请填写电子邮箱"),
        ("email", "lin", "请填写有效的电子邮箱"),
        ("email", "lin@", "请填写有效的电子邮箱"),
        ("password", "", "请填写密码"),
        ("password", "x" * 257, "密码最多 256 个字符"),
        ("password2", "", "请再次填写密码"),
        ("password2", "something else", "两次输入的密码不一致"),
    ],
)
async def test_what_is_wrong_is_explained_beside_its_field(
    visitor: Visitor, database: Database, field: str, value: str, explanation: str
) -> None:
    page = await register(visitor, **{field: value})

    assert page.status == 200
    assert page.errors_beside(field).startswith(explanation)
    assert await accounts(database) == 0


async def test_a_control_character_is_refused_before_the_database_sees_it(visitor: Visitor, database: Database) -> None:
    page = await register(visitor, password="a\x00b", password2="a\x00b")

    assert page.errors_beside("password") == "请不要使用控制字符"
    assert await accounts(database) == 0


async def test_a_closed_site_shows_no_form_and_takes_none(serve: Serve) -> None:
    visitor = Visitor(await serve(site={"registration": False}))

    page = await visitor.get("/register")
    answer = await visitor.submit("/register", username="lin")

    assert page.status == 200
    assert "本站暂不开放注册" in page.text
    assert 'name="username"' not in page.text
    assert answer.status == 403


async def test_who_is_signed_in_has_nothing_to_register(ada: User, sign_in: SignIn) -> None:
    answer = await (await sign_in(ada)).get("/register")

    assert (answer.status, answer.location) == (302, "/")


async def test_the_address_is_kept_in_lower_case(visitor: Visitor, database: Database) -> None:
    await register(visitor, email="Lin@Example.COM")

    async with database.transaction() as session:
        assert await session.scalar(select(User.email)) == "lin@example.com"


async def test_a_broken_rule_that_is_not_the_visitors_is_a_failure(database: Database) -> None:
    async def register_without_a_hash() -> None:
        async with database.transaction() as session:
            await service.register(session, "lin", "lin@example.com", None)  # type: ignore[arg-type]

    with pytest.raises(IntegrityError):
        await register_without_a_hash()
