"""One's own page: a new password, and the browsers that are signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from quartblog.account.browsers import browser_name
from quartblog.models import Login
from tests.support.browsing import PASSWORD, Visitor

if TYPE_CHECKING:
    from quart import Quart

    from quartblog.database import Database
    from quartblog.models import User
    from tests.support.browsing import SignIn
    from tests.support.log_file import LogFile

NEW = "another long pass phrase"


def change(present: str = PASSWORD, password: str = NEW, password2: str = NEW) -> dict[str, str]:
    return {"present": present, "password": password, "password2": password2}


async def is_signed_in(visitor: Visitor) -> bool:
    return (await visitor.get("/account")).status == 200


async def logins(database: Database) -> list[int]:
    async with database.transaction() as session:
        return list(await session.scalars(select(Login.id).order_by(Login.id)))


async def test_a_new_password_signs_in_and_the_old_one_does_not(
    app: Quart, ada: User, sign_in: SignIn, log: LogFile
) -> None:
    here, there = await sign_in(ada), await sign_in(ada)

    assert (await here.submit("/account/password", **change())).location == "/account"
    page = await here.get("/account")

    assert "密码已修改，其他浏览器都已退出登录" in page.text
    assert not await is_signed_in(there)
    visitor = Visitor(app)
    assert (await visitor.submit("/login", username="ada", password=PASSWORD)).status == 200
    assert (await visitor.submit("/login", username="ada", password=NEW)).status == 302
    assert f"password changed: user {ada.id}" in log.text
    assert NEW not in log.text


@pytest.mark.parametrize(
    ("form", "field", "said"),
    [
        (change(present="a wrong one"), "present", "密码有误"),
        (change(present=""), "present", "请填写密码"),
        (change(password2="something else"), "password2", "两次输入的密码不一致"),
        (change(password="", password2=""), "password", "请填写密码"),
    ],
    ids=["wrong", "none", "unequal", "empty"],
)
async def test_a_form_that_is_wrong_changes_nothing(
    *, ada: User, sign_in: SignIn, app: Quart, form: dict[str, str], field: str, said: str
) -> None:
    here, there = await sign_in(ada), await sign_in(ada)

    page = await here.submit("/account/password", **form)

    assert page.status == 200
    assert page.errors_beside(field) == said
    assert await is_signed_in(there)
    assert (await Visitor(app).submit("/login", username="ada", password=PASSWORD)).status == 302


async def test_the_page_names_each_browser_and_ends_its_login(
    app: Quart, ada: User, database: Database, log: LogFile
) -> None:
    agents = ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "<script>alert(1)</script>")
    here, there = (Visitor(app, User_Agent=agent) for agent in agents)
    for visitor in (here, there):
        await visitor.submit("/login", username="ada", password=PASSWORD)
    mine, other = await logins(database)

    page = await here.get("/account")
    assert "Firefox · Linux</b> · 就是这个浏览器" in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert f'value="{other}"' in page.text
    assert f'value="{mine}"' not in page.text

    await here.submit("/account/sessions", end=str(other))
    assert "已退出 1 个浏览器" in (await here.get("/account")).text
    assert not await is_signed_in(there)
    assert f"session ended: user {ada.id}" in log.text


async def test_all_other_browsers_are_signed_out_at_once(ada: User, sign_in: SignIn) -> None:
    here, *others = [await sign_in(ada) for _ in range(4)]

    await here.submit("/account/sessions", end="others")

    assert "已退出 3 个浏览器" in (await here.get("/account")).text
    assert [await is_signed_in(other) for other in others] == [False] * 3


async def test_nobody_ends_the_login_of_somebody_else(
    ada: User, grace: User, sign_in: SignIn, database: Database
) -> None:
    visitor, victim = await sign_in(ada), await sign_in(grace)
    _mine, theirs = await logins(database)

    await visitor.submit("/account/sessions", end=str(theirs))
    assert "已退出 0 个浏览器" in (await visitor.get("/account")).text
    await visitor.submit("/account/sessions", end="others")

    assert await is_signed_in(victim)
    for wrong in ("", "x", "-1", "9" * 30, "٣"):
        assert (await visitor.submit("/account/sessions", end=wrong)).status == 400


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36 Edg/141.0",
            "Edge · Windows",
        ),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/141.0 Mobile Safari/537.36", "Chrome · Android"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1 Version/19 Safari/604.1",
            "Safari · iPhone",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("x" * 200, "x" * 60),
        ("", ""),
    ],
)
def test_a_browser_is_called_by_its_name_and_system(agent: str, name: str) -> None:
    assert browser_name(agent) == name
