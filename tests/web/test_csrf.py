"""A form counts only where one of our own pages has shown it to the same visitor, not long ago."""

import time

import pytest
from itsdangerous import TimestampSigner
from quart import Quart

from quartblog.models import User
from quartblog.web import csrf
from tests.support.browsing import PASSWORD, SignIn, Visitor
from tests.support.log_file import LogFile

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def unsafe_routes(app: Quart) -> list[tuple[str, str]]:
    """Each rule with each unsafe method it takes."""
    return [
        (rule.rule, method)
        for rule in app.url_map.iter_rules()
        for method in sorted(rule.methods or ())
        if method not in csrf.SAFE_METHODS
    ]


async def test_every_unsafe_route_demands_the_token_but_the_rehearsal(app: Quart, visitor: Visitor) -> None:
    answered = {
        (rule, method): (await visitor.send(method, rule.replace("<path:below>", "below"))).status
        for rule, method in unsafe_routes(app)
    }

    rehearsal = {status for (rule, _), status in answered.items() if rule.startswith("/errors/rehearsal")}
    others = {route: status for route, status in answered.items() if not route[0].startswith("/errors/rehearsal")}
    assert rehearsal == {500}
    assert set(others) == {(rule, "POST") for rule in ("/", "/login", "/logout", "/register", "/user/edit")}
    assert set(others.values()) == {400}


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_missing_token_is_explained_in_the_visitors_language(app: Quart, language: str) -> None:
    page = await Visitor(app, Accept_Language=language).send("POST", "/login", form={"username": "ada"})

    assert page.status == 400
    title, advice = {
        "zh": ("表单已失效", "页面打开得太久，或者登录状态已改变。请返回上一页，刷新后重新提交。"),
        "en": ("This form has expired", "reload"),
    }[language]
    assert title in page.text
    assert advice in page.text
    assert f'<html lang="{"zh-Hans" if language == "zh" else "en"}">' in page.text


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\ud7ff", "x" * 5000, "é.è.à", "\x00"])
async def test_a_forged_token_is_refused(visitor: Visitor, log: LogFile, token: str) -> None:
    await visitor.get("/login")

    page = await visitor.send("POST", "/login", form={"csrf_token": token})

    assert page.status == 400
    assert log.failures == []


async def test_a_token_of_another_visitor_is_refused(app: Quart, visitor: Visitor) -> None:
    await visitor.get("/login")
    stranger = await Visitor(app).get("/login")

    assert (await visitor.send("POST", "/login", form={"csrf_token": stranger.csrf_token})).status == 400


async def test_a_token_without_its_session_is_refused(app: Quart, visitor: Visitor) -> None:
    token = (await visitor.get("/login")).csrf_token

    assert (await Visitor(app).send("POST", "/login", form={"csrf_token": token})).status == 400


@pytest.mark.parametrize(("seconds", "status"), [(csrf.MAX_AGE, 200), (csrf.MAX_AGE + 1, 400)])
async def test_a_token_is_good_for_a_day(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, seconds: int, status: int
) -> None:
    now = int(time.time())
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: now)
    token = (await visitor.get("/login")).csrf_token
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: now + seconds)

    page = await visitor.send("POST", "/login", form={"csrf_token": token, "username": "ada"})

    assert page.status == status


async def test_one_token_serves_several_open_pages(visitor: Visitor) -> None:
    first = await visitor.get("/login")
    second = await visitor.get("/register")

    for page in (first, second, first):
        assert (await visitor.send("POST", "/login", form={"csrf_token": page.csrf_token})).status == 200


async def test_a_token_does_not_survive_signing_in(ada: User, visitor: Visitor) -> None:
    before = (await visitor.get("/login")).csrf_token
    await visitor.send("POST", "/login", form={"csrf_token": before, "username": "ada", "password": PASSWORD})

    page = await visitor.send("POST", "/", form={"csrf_token": before, "body": "x"})

    assert page.status == 400


async def test_a_token_does_not_survive_signing_out(ada: User, sign_in: SignIn) -> None:
    visitor = await sign_in(ada)
    before = (await visitor.get("/")).csrf_token
    await visitor.get("/logout")

    assert (await visitor.send("POST", "/login", form={"csrf_token": before})).status == 400


@pytest.mark.parametrize("method", UNSAFE)
async def test_an_unknown_address_is_a_404_whatever_is_sent(visitor: Visitor, method: str) -> None:
    page = await visitor.send(method, "/nowhere", form={"a": "b"})

    assert page.status == 404


async def test_a_token_in_the_address_does_not_count(visitor: Visitor) -> None:
    token = (await visitor.get("/login")).csrf_token

    assert (await visitor.send("POST", f"/login?csrf_token={token}")).status == 400


async def test_reading_a_page_without_a_form_sets_no_cookie(visitor: Visitor) -> None:
    assert "Set-Cookie" not in (await visitor.get("/")).headers
