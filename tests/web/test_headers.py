"""What every answer carries."""

from itertools import product
from typing import NoReturn

import pytest
from quart import Quart, session

from quartblog.models import User
from quartblog.web.headers import SECURITY_HEADERS, OnlyChangedSessions
from tests.support.asgi import ask
from tests.support.browsing import FROM_OURSELVES, Serve, SignIn, Visitor

EVERYWHERE = [
    ("GET", "/", 200),
    ("GET", "/login", 200),
    ("GET", "/user/edit", 302),
    ("GET", "/hello", 200),
    ("GET", "/healthz", 200),
    ("GET", "/static/quartblog.css", 200),
    ("GET", "/static/nothing.css", 404),
    ("GET", "/nowhere", 404),
    ("POST", "/login", 403),
    ("PUT", "/hello", 405),
    ("OPTIONS", "/hello", 200),
    ("HEAD", "/", 200),
    ("GET", "/errors/rehearsal", 500),
]


async def test_every_answer_is_closed_to_other_sites(visitor: Visitor) -> None:
    for method, path, status in EVERYWHERE:
        page = await visitor.send(method, path)

        assert page.status == status, f"{method} {path}"
        for name, value in SECURITY_HEADERS.items():
            assert page.headers.getlist(name) == [value], f"{method} {path}"
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, f"{method} {path}"
        assert "script-src" not in policy, f"{method} {path}"
        assert "frame-ancestors 'none'" in policy, f"{method} {path}"
        assert "unsafe" not in policy, f"{method} {path}"
        assert "Strict-Transport-Security" not in page.headers, f"{method} {path}"


async def test_browsers_are_told_to_keep_to_https_where_the_site_does(serve: Serve) -> None:
    app = await serve(site={"public_url": "https://blog.example.org"})
    for method, path, _ in EVERYWHERE:
        page = await ask(app, path, method=method, scheme="https")

        assert page.headers["Strict-Transport-Security"] == "max-age=31536000", f"{method} {path}"


@pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/static/nothing.css", "/errors/rehearsal", "/user/edit"])
async def test_no_cache_mixes_up_whose_page_it_is(visitor: Visitor, path: str) -> None:
    page = await visitor.get(path)

    assert page.headers["Cache-Control"] == "private, no-cache"
    assert {name.strip() for name in page.headers["Vary"].split(",")} == {"Cookie", "Accept-Language", "Accept"}


async def test_a_static_file_may_be_kept_by_anybody(visitor: Visitor) -> None:
    page = await visitor.get("/static/quartblog.css")

    assert "max-age=" in page.headers["Cache-Control"]
    assert "private" not in page.headers["Cache-Control"]
    assert "Vary" not in page.headers
    assert "Set-Cookie" not in page.headers
    again = await visitor.get("/static/quartblog.css", If_None_Match=page.headers["ETag"])
    assert (again.status, again.text) == (304, "")


async def test_what_the_server_runs_on_is_not_told(app: Quart, visitor: Visitor) -> None:
    page = await visitor.get("/")

    assert not {"Server", "X-Powered-By"} & set(page.headers.keys())


async def test_a_request_without_a_session_derives_no_key(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def derive(*_: object) -> NoReturn:
        raise AssertionError("a key was derived")

    monkeypatch.setattr(OnlyChangedSessions, "get_signing_serializer", derive)

    page = await visitor.get("/hello")

    assert page.status == 200
    assert "Set-Cookie" not in page.headers


@pytest.mark.parametrize("cookie", ["", "nonsense", "..", "e30.aaaa.bbbb", ".eJw.Z.x", "\xff" * 3_000])
async def test_a_session_that_is_not_ours_is_empty(app: Quart, visitor: Visitor, cookie: str) -> None:
    @app.get("/kept")
    async def kept() -> dict[str, object]:
        return dict(session)

    page = await ask(app, "/kept", headers=[(b"cookie", b"quartblog=" + cookie.encode("latin-1"))])
    assert (page.status, page.text.strip()) == (200, "{}")

    visitor.set_cookie("quartblog", cookie.encode("ascii", "ignore").decode())
    assert (await visitor.submit("/login", username="nobody", password="wrong")).status == 200


async def test_a_session_that_was_changed_by_somebody_is_empty(app: Quart, visitor: Visitor) -> None:
    @app.get("/kept")
    async def kept() -> dict[str, object]:
        return dict(session)

    await visitor.get("/user/edit")
    cookie = visitor.cookie("quartblog")
    assert cookie
    assert "flashes" in (await visitor.get("/kept")).text

    visitor.set_cookie("quartblog", cookie[:-1] + ("A" if cookie[-1] != "A" else "B") + "A")

    assert (await visitor.get("/kept")).text.strip() == "{}"


async def test_a_message_is_kept_for_the_next_page_and_shown_once(visitor: Visitor) -> None:
    assert (await visitor.get("/user/edit")).status == 302

    assert '<p class="notice message">请登录后访问此页面' in (await visitor.get("/login")).text
    assert "notice message" not in (await visitor.get("/login")).text


@pytest.mark.parametrize("path", ["/", "/user/info/ada", "/login"])
async def test_a_page_that_the_browser_has_is_not_sent_again(visitor: Visitor, ada: User, path: str) -> None:
    first = await visitor.get(path)
    again = await visitor.get(path, If_None_Match=first.headers["ETag"])

    assert (first.status, again.status, again.text) == (200, 304, "")
    for name in ("ETag", "Vary", "Cache-Control", "Content-Security-Policy"):
        assert again.headers[name] == first.headers[name]


async def test_an_answer_without_a_page_has_no_header_about_one(app: Quart) -> None:
    tag = (await ask(app, "/")).headers["ETag"]

    for method, value in product(("GET", "HEAD"), (tag, f"W/{tag}", f'"other", {tag}', "*")):
        answer = await ask(app, "/", method=method, headers=[(b"if-none-match", value.encode())])
        assert (answer.status, answer.text) == (304, ""), value
        assert {"Content-Length", "Content-Type"}.isdisjoint(answer.headers.keys())


@pytest.mark.parametrize("value", [b"", b"x", b'"', b'W/"', b"\xff", b'"a"' * 20_000])
async def test_an_odd_tag_gets_the_page(app: Quart, value: bytes) -> None:
    assert (await ask(app, "/", headers=[(b"if-none-match", value)])).status == 200


async def test_an_answer_to_a_form_is_no_page_that_a_browser_has(ada: User, sign_in: SignIn) -> None:
    visitor = await sign_in(ada)

    answer = await visitor.send("POST", "/", form={"body": ""}, headers=FROM_OURSELVES | {"If-None-Match": "*"})

    assert answer.status == 200
    assert "请先写点什么" in answer.text
    assert "ETag" not in answer.headers


async def test_a_page_that_shows_something_else_is_sent(
    app: Quart, visitor: Visitor, ada: User, sign_in: SignIn
) -> None:
    tag = (await visitor.get("/")).headers["ETag"]
    english = await Visitor(app, Accept_Language="en").get("/", If_None_Match=tag)
    member = await sign_in(ada)
    await member.submit("/", body="hello")
    changed = await visitor.get("/", If_None_Match=tag)

    assert [page.status for page in (english, changed)] == [200, 200]
    assert "hello" in changed.text
    assert len({page.headers["ETag"] for page in (english, changed)} | {tag}) == 3


async def test_no_browser_keeps_what_a_member_has_seen(ada: User, sign_in: SignIn, visitor: Visitor) -> None:
    member = await sign_in(ada)
    for path in ("/", "/user/info/ada", "/user/edit", "/nowhere"):
        page = await member.get(path)
        assert page.headers["Cache-Control"] == ("private, no-cache" if path == "/nowhere" else "no-store")
        assert "ETag" not in page.headers
    assert (await visitor.get("/")).headers["Cache-Control"] == "private, no-cache"
    assert "no-store" not in (await member.get("/static/quartblog.css")).headers["Cache-Control"]


async def test_a_message_shown_once_is_not_taken_for_the_page_itself(visitor: Visitor) -> None:
    plain = (await visitor.get("/login")).headers["ETag"]
    await visitor.get("/user/edit")
    with_message = await visitor.get("/login", If_None_Match=plain)
    without = await visitor.get("/login", If_None_Match=plain)

    assert "请登录后访问此页面" in with_message.text
    assert "ETag" not in with_message.headers
    assert without.status == 304


async def test_what_is_no_page_has_no_tag(visitor: Visitor) -> None:
    for path in ("/hello", "/nowhere", "/healthz", "/errors/rehearsal"):
        assert "ETag" not in (await visitor.get(path)).headers
