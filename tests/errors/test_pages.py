"""What a visitor sees of an error: the site's own page, or a problem document."""

import json
from typing import NoReturn

import pytest
from quart import Quart, Response, abort
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

from tests.support.browsing import Visitor
from tests.support.log_file import LogFile

TITLES = {
    400: ("请求有误", "Bad request"),
    401: ("请登录后访问此页面", "Please sign in to see this page"),
    403: ("没有权限", "Not allowed"),
    404: ("网页未找到", "Page not found"),
    405: ("不支持的请求方法", "Method not allowed"),
    408: ("请求超时", "The request took too long"),
    413: ("提交的内容过大", "Too much content"),
    429: ("请求过于频繁", "Too many requests"),
    500: ("发生意外错误, 已通知管理员，给您带来的不便，请多多原谅", "An unexpected error has occurred"),
    503: ("服务暂时不可用", "Temporarily unavailable"),
}


@pytest.fixture(autouse=True)
def failing_routes(app: Quart) -> None:
    """Pages that end as asked."""

    @app.get("/end/<int:status>")
    async def end(status: int) -> NoReturn:
        abort(status)

    @app.get("/later")
    async def later() -> NoReturn:
        raise TooManyRequests(retry_after=90)

    @app.get("/down")
    async def down() -> NoReturn:
        raise ServiceUnavailable(retry_after=3600)

    @app.get("/own")
    async def own() -> NoReturn:
        abort(Response("just so", 409))


@pytest.mark.parametrize("status", TITLES)
async def test_a_page_in_the_sites_look(visitor: Visitor, status: int) -> None:
    page = await visitor.get(f"/end/{status}")

    assert page.status == status
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert '<html lang="zh-Hans">' in page.text
    assert '<link rel="stylesheet" href="/static/quartblog.css' in page.text
    assert TITLES[status][0] in page.text
    assert "返回首页" in page.text


@pytest.mark.parametrize("status", TITLES)
async def test_a_page_in_the_visitors_language(app: Quart, status: int) -> None:
    page = await Visitor(app, Accept_Language="en-GB").get(f"/end/{status}")

    assert '<html lang="en">' in page.text
    assert TITLES[status][1] in page.text
    assert "Back to the home page" in page.text


@pytest.mark.parametrize("status", TITLES)
async def test_a_problem_document_for_a_program(visitor: Visitor, status: int) -> None:
    page = await visitor.get(f"/end/{status}", Accept="application/json")

    problem = json.loads(page.text)
    assert page.status == status
    assert page.headers["Content-Type"] == "application/problem+json"
    assert problem.pop("type") == "about:blank"
    assert problem.pop("status") == status
    assert problem.pop("title") == TITLES[status][0]
    assert problem.pop("error_id", None) == page.headers.get("X-Error-Id")
    assert set(problem) <= {"detail"}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "text/html; charset=utf-8"),
        ("", "text/html; charset=utf-8"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("application/json, text/plain, */*", "application/problem+json"),
        ("text/html;q=0.5, application/json", "application/problem+json"),
        ("text/html, application/json;q=0.9", "text/html; charset=utf-8"),
        ("image/avif", "text/html; charset=utf-8"),
        ("nonsense;;q=zz,,", "text/html; charset=utf-8"),
    ],
)
async def test_accept_decides_between_page_and_problem(visitor: Visitor, accept: str, kind: str) -> None:
    page = await visitor.get("/nowhere", Accept=accept)

    assert (page.status, page.headers["Content-Type"]) == (404, kind)


@pytest.mark.parametrize(
    ("path", "after"), [("/later", "90"), ("/down", "3600"), ("/end/429", "10"), ("/end/503", "10")]
)
async def test_when_to_try_again_is_told(visitor: Visitor, path: str, after: str) -> None:
    assert (await visitor.get(path)).headers["Retry-After"] == after


@pytest.mark.parametrize(("status", "like"), [(409, 400), (418, 400), (416, 400), (501, 500), (504, 500)])
async def test_a_rare_status_is_explained_like_its_kin(visitor: Visitor, status: int, like: int) -> None:
    page = await visitor.get(f"/end/{status}")

    assert page.status == status
    assert TITLES[like][0] in page.text


async def test_a_wrong_method_is_told_which_are_right(visitor: Visitor) -> None:
    page = await visitor.send("DELETE", "/hello")

    assert page.status == 405
    assert {method.strip() for method in page.headers["Allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}


async def test_a_response_of_ones_own_is_left_alone(visitor: Visitor) -> None:
    page = await visitor.get("/own")

    assert (page.status, page.text) == (409, "just so")


@pytest.mark.parametrize("status", [status for status in TITLES if status < 500])
async def test_a_refusal_is_no_failure(visitor: Visitor, log: LogFile, status: int) -> None:
    page = await visitor.get(f"/end/{status}")

    assert "X-Error-Id" not in page.headers
    assert "错误编号" not in page.text
    assert log.failures == []


async def test_who_must_sign_in_finds_the_way(visitor: Visitor) -> None:
    assert 'href="/login"' in (await visitor.get("/end/401")).text


async def test_head_asks_for_an_error_page_too(visitor: Visitor) -> None:
    assert (await visitor.send("HEAD", "/nowhere")).status == 404
