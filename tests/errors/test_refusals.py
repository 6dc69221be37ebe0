"""A rule that says no is a page of its own status, in whatever view, and never a record."""

import json
from typing import NoReturn

import pytest
from quart import Quart

from quartblog.database import transaction
from quartblog.errors import exceptions
from quartblog.errors.exceptions import Refusal, UsernameTaken
from tests.support.browsing import Visitor
from tests.support.log_file import LogFile


class Unheard(Refusal):
    """A class of tomorrow, of which nobody has said anything."""


class Gone(Refusal):
    """One that says its status."""

    status = 410


class StillTaken(UsernameTaken):
    """A closer reason than the one it belongs to."""


EXPECTED = {
    "FromElsewhere": (403, "表单来自其他网站", "This form came from another site"),
    "FromNowhere": (403, "不清楚表单来自哪里", "Nobody knows where this form came from"),
    "KeyRefused": (403, "这个地址已经用过，或者过期了", "This address was used already, or is too old"),
    "UsernameTaken": (409, "该用户名已被使用", "This username is already taken"),
    "EmailTaken": (409, "该邮箱已被使用", "This e-mail address is already in use"),
    "InvalidUsername": (400, "请求有误", "Bad request"),
    "WrongCredentials": (401, "用户名或密码有误", "Wrong username or password"),
    "NoSuchUser": (404, "网页未找到", "Page not found"),
    "Refusal": (400, "请求有误", "Bad request"),
    "Unheard": (400, "请求有误", "Bad request"),
    "Gone": (410, "请求有误", "Bad request"),
    "StillTaken": (409, "该用户名已被使用", "This username is already taken"),
}


def refusals(kind: type[Refusal] = Refusal) -> list[type[Refusal]]:
    """The class and all below it that the project has, and those of this file."""
    ours = [below for child in kind.__subclasses__() for below in refusals(child)]
    return [one for one in (kind, *ours) if one.__module__ in {exceptions.__name__, __name__}]


@pytest.fixture(autouse=True)
def refusing_routes(app: Quart) -> None:
    """A page for each refusal: raised in the view, and inside a transaction."""
    kinds = {kind.__name__: kind for kind in refusals()}

    @app.get("/refuse/<name>")
    async def refuse(name: str) -> NoReturn:
        raise kinds[name]("not for the visitor")

    @app.get("/refuse-inside/<name>")
    async def refuse_inside(name: str) -> NoReturn:
        async with transaction():
            raise kinds[name]


def test_every_refusal_is_tried_here() -> None:
    assert {kind.__name__ for kind in refusals()} == set(EXPECTED)


@pytest.mark.parametrize("place", ["/refuse", "/refuse-inside"])
async def test_a_refusal_is_a_page_and_no_record(visitor: Visitor, log: LogFile, place: str) -> None:
    for name, (status, chinese, english) in EXPECTED.items():
        page = await visitor.get(f"{place}/{name}")
        translated = await visitor.get(f"{place}/{name}", Accept_Language="en")
        problem = await visitor.get(f"{place}/{name}", Accept="application/json")

        assert page.status == translated.status == problem.status == status, name
        assert f"<h1>{chinese}</h1>" in page.text, name
        assert f"<h1>{english}</h1>" in translated.text, name
        assert json.loads(problem.text)["title"] == chinese, name
        assert "not for the visitor" not in page.text + problem.text, name
        assert "X-Error-Id" not in page.headers, name
        assert log.failures == [], name


def test_a_refusal_cannot_blame_the_server() -> None:
    with pytest.raises(TypeError, match="400 to 499, not 500"):
        type("Wrong", (Refusal,), {"status": 500, "__module__": "elsewhere"})
