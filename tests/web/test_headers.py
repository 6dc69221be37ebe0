"""What every answer carries."""

import pytest
from quart import Quart

from quartblog.web.headers import SECURITY_HEADERS, VARY
from tests.support.asgi import ask
from tests.support.browsing import Serve, Visitor

EVERYWHERE = [
    ("GET", "/", 200),
    ("GET", "/login", 200),
    ("GET", "/user/edit", 302),
    ("GET", "/hello", 200),
    ("GET", "/healthz", 200),
    ("GET", "/static/quartblog.css", 200),
    ("GET", "/static/nothing.css", 404),
    ("GET", "/nowhere", 404),
    ("POST", "/login", 400),
    ("PUT", "/hello", 405),
    ("OPTIONS", "/hello", 200),
    ("HEAD", "/", 200),
    ("GET", "/errors/rehearsal", 500),
]


@pytest.mark.parametrize(("method", "path", "status"), EVERYWHERE)
async def test_every_answer_is_closed_to_other_sites(visitor: Visitor, method: str, path: str, status: int) -> None:
    page = await visitor.send(method, path)

    assert page.status == status
    for name, value in SECURITY_HEADERS.items():
        assert page.headers.getlist(name) == [value]
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "Strict-Transport-Security" not in page.headers


@pytest.mark.parametrize(("method", "path", "status"), EVERYWHERE)
async def test_browsers_are_told_to_keep_to_https_where_the_site_does(
    serve: Serve, method: str, path: str, status: int
) -> None:
    app = await serve(site={"public_url": "https://blog.example.org"})

    page = await ask(app, path, method=method, scheme="https")

    assert page.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/static/nothing.css", "/errors/rehearsal", "/user/edit"])
async def test_no_cache_mixes_up_whose_page_it_is(visitor: Visitor, path: str) -> None:
    page = await visitor.get(path)

    assert page.headers["Cache-Control"] == "private, no-cache"
    assert {name.strip().lower() for name in page.headers["Vary"].split(",")} == {
        name.strip().lower() for name in VARY.split(",")
    }


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
