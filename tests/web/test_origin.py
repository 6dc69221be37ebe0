"""A form counts only where one of our own pages, or the visitor, has sent it: no cookie and no value decides that."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select
from werkzeug.datastructures import Headers

from quartblog.models import Post
from quartblog.web.origin import SAFE_METHODS, is_ours
from tests.support.asgi import ask
from tests.support.browsing import PASSWORD, Visitor
from tests.support.log_file import LogFile

if TYPE_CHECKING:
    from quart import Quart

    from quartblog.database import Database
    from quartblog.models import User
    from quartblog.settings import Settings
    from tests.support.browsing import Serve, SignIn

CHANGING = {
    *((rule, "POST") for rule in ("/", "/login", "/logout", "/register", "/user/edit")),
    *((f"/account/{form}", "POST") for form in ("password", "sessions")),
    *(
        (rule, "POST")
        for rule in (
            "/operations/errors",
            "/operations/errors/<int:group_id>",
            "/operations/delivery",
            "/operations/enter",
        )
    ),
}
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
PUBLIC = "https://blog.example.org"
ELSEWHERE = ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"})


def address(rule: str) -> str:
    """An address of this rule."""
    return rule.replace("<path:below>", "below").replace("<int:group_id>", "1")


def unsafe_routes(app: Quart) -> set[tuple[str, str]]:
    """Each rule with each unsafe method it takes."""
    return {
        (rule.rule, method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in SAFE_METHODS
    }


@pytest.mark.parametrize("headers", [{}, *ELSEWHERE])
async def test_every_unsafe_route_refuses_other_sites_but_the_rehearsal(
    app: Quart, visitor: Visitor, headers: dict[str, str]
) -> None:
    answered = {
        (rule, method): (await visitor.send(method, address(rule), headers=headers)).status
        for rule, method in unsafe_routes(app)
    }

    rehearsal = {status for (rule, _), status in answered.items() if rule.startswith("/errors/rehearsal")}
    others = {route: status for route, status in answered.items() if not route[0].startswith("/errors/rehearsal")}
    assert rehearsal == {500}
    assert set(others) == CHANGING, "add the route to CHANGING, or remove it there"
    assert set(others.values()) == {403}


@pytest.mark.parametrize(
    ("headers", "scheme", "ours"),
    [
        # What a browser says itself decides alone.
        ([("Sec-Fetch-Site", "same-origin")], "http", True),
        ([("Sec-Fetch-Site", "none")], "http", True),
        ([("Sec-Fetch-Site", "same-site")], "http", False),
        ([("Sec-Fetch-Site", "cross-site")], "http", False),
        ([("Sec-Fetch-Site", "cross-site"), ("Origin", PUBLIC)], "https", False),
        ([("Sec-Fetch-Site", "same-origin"), ("Origin", "https://evil.example")], "https", True),
        ([("Sec-Fetch-Site", "SAME-ORIGIN")], "http", False),
        ([("Sec-Fetch-Site", "")], "http", False),
        ([("Sec-Fetch-Site", "same-origin, cross-site")], "http", False),
        ([("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "same-origin")], "http", False),
        # Without it, the origin is the site's own address or the one that was asked.
        ([("Origin", PUBLIC)], "http", True),
        ([("Origin", "https://BLOG.example.org:443")], "http", True),
        ([("Origin", "http://blog.example.org")], "http", False),
        ([("Origin", "https://blog.example.org.evil.example")], "http", False),
        ([("Origin", "https://evil.example/https://blog.example.org")], "http", False),
        ([("Origin", "http://asked.example:5000")], "http", True),
        ([("Origin", "https://asked.example:5000")], "http", False),
        ([("Origin", "http://asked.example:5000")], "https", False),
        ([("Origin", "http://asked.example")], "http", False),
        ([("Origin", "null")], "http", False),
        ([("Origin", "")], "http", False),
        ([("Origin", PUBLIC), ("Origin", PUBLIC)], "https", False),
        ([], "https", False),
        ([("Referer", PUBLIC + "/")], "https", False),
    ],
)
def test_where_a_request_comes_from(headers: list[tuple[str, str]], scheme: str, *, ours: bool) -> None:
    assert is_ours(Headers([("Host", "asked.example:5000"), *headers]), scheme, PUBLIC) is ours


def test_without_a_public_url_https_may_end_at_a_proxy() -> None:
    for scheme, origin, ours in (
        ("http", "https://asked.example:5000", True),
        ("http", "http://asked.example:5000", True),
        ("https", "http://asked.example:5000", False),
        ("http", "http://127.0.0.1:5000", False),
    ):
        assert is_ours(Headers([("Host", "asked.example:5000"), ("Origin", origin)]), scheme, None) is ours


async def test_the_default_address_is_nobodys_origin(visitor: Visitor) -> None:
    headers = {"Origin": "http://127.0.0.1:5000", "Host": "blog.lan:5000"}

    assert (await visitor.send("POST", "/login", headers=headers)).status == 403


def test_the_port_of_the_scheme_may_be_left_out() -> None:
    for host, origin in product(("blog.example", "blog.example:80"), ("http://blog.example", "http://blog.example:80")):
        assert is_ours(Headers([("Host", host), ("Origin", origin)]), "http", PUBLIC)


def test_without_a_host_no_origin_is_the_sites() -> None:
    for origin in ("http:", "http://", "https:", "https://", "/"):
        assert not is_ours(Headers([("Origin", origin)]), "http", PUBLIC)


@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_no_mix_of_cookies_publishes_from_another_site(
    app: Quart, ada: User, sign_in: SignIn, database: Database, headers: dict[str, str]
) -> None:
    member, attacker = await sign_in(ada), Visitor(app)
    await attacker.get("/user/edit")
    logins = [None, member.cookie("quartblog_login")]
    sessions = [None, member.cookie("quartblog"), attacker.cookie("quartblog")]

    for login, session in product(logins, sessions):
        victim = Visitor(app)
        for name, value in (("quartblog_login", login), ("quartblog", session)):
            if value is not None:
                victim.set_cookie(name, value)
        assert (await victim.send("POST", "/", form={"body": "hello"}, headers=headers)).status == 403

    async with database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(Post)) == 0


@pytest.mark.parametrize(
    ("headers", "title", "advice"),
    [
        (ELSEWHERE[0], "表单来自其他网站", "请在本站打开这个页面，再提交一次。"),
        (ELSEWHERE[2] | {"Accept-Language": "en"}, "This form came from another site", "open the page on this site"),
        ({}, "不清楚表单来自哪里", "请更新浏览器，或者让脚本发送 Origin。"),
        ({"Accept-Language": "en"}, "Nobody knows where this form came from", "let your script send Origin"),
    ],
)
async def test_a_refusal_says_why_and_what_to_do(
    visitor: Visitor, headers: dict[str, str], title: str, advice: str
) -> None:
    page = await visitor.send("POST", "/login", form={"username": "ada"}, headers=headers)

    assert page.status == 403
    assert title in page.text
    assert advice in page.text


async def test_a_refusal_is_recorded_with_what_was_compared(serve: Serve, settings: Settings) -> None:
    app = await serve(site={"public_url": PUBLIC})
    log = LogFile(app, settings.logging.directory / settings.logging.filename)
    await Visitor(app).send("POST", "/login", headers={"Origin": "https://proxy.internal"})

    [line] = [line for line in log.text.splitlines() if "from elsewhere" in line]
    assert "Sec-Fetch-Site is missing" in line
    assert "Origin 'https://proxy.internal'" in line
    assert "Host 'localhost'" in line
    assert f"site.public_url '{PUBLIC}'" in line


async def test_a_stranger_cannot_fill_the_log_with_refusals(app: Quart, log: LogFile, visitor: Visitor) -> None:
    for number in range(200):
        headers = {"Origin": f"https://{number}.example/" + "x" * 500, "Sec-Fetch-Site": "is missing"}
        await visitor.send("POST", "/login", headers=headers)

    [line] = [line for line in log.text.splitlines() if "from elsewhere" in line]
    assert "Sec-Fetch-Site 'is missing', Origin 'https://0.example/xxx" in line
    assert len(line) < 500


async def test_a_refusal_of_a_hostile_header_stays_one_short_line(app: Quart, log: LogFile) -> None:
    for value in (b"https://evil.example/" + b"x" * 20_000, b"\x1b[31mred", b"caf\xe9", b"\xff\xfe"):
        assert (await ask(app, "/login", method="POST", headers=[(b"origin", value)])).status == 403

    assert log.failures == []
    assert max(map(len, log.text.splitlines())) < 1_000


async def test_a_script_sends_its_origin(serve: Serve, ada: User) -> None:
    app = await serve(site={"public_url": PUBLIC})
    form = {"username": "ada", "password": "wrong"}

    for origin in ("http://localhost", PUBLIC):
        assert (await Visitor(app).send("POST", "/login", form=form, headers={"Origin": origin})).status == 200


@pytest.mark.parametrize("method", UNSAFE)
async def test_an_unknown_address_is_a_404_whatever_is_sent(visitor: Visitor, method: str) -> None:
    assert (await visitor.send(method, "/nowhere", form={"a": "b"})).status == 404


async def test_a_page_with_a_form_sets_no_cookie(visitor: Visitor) -> None:
    for path in ("/", "/login", "/register"):
        assert "Set-Cookie" not in (await visitor.get(path)).headers


async def test_a_form_left_open_while_signing_out_and_in_again_still_counts(ada: User, sign_in: SignIn) -> None:
    visitor = await sign_in(ada)
    await visitor.get("/user/edit")
    await visitor.submit("/logout")
    await visitor.submit("/login", username="ada", password=PASSWORD)

    assert (await visitor.submit("/user/edit", username="ada", about_me="later")).location == "/user/edit"
