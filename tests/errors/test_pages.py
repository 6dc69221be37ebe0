"""What a visitor sees of an error: the site's own page, or a problem document."""

import json
from typing import NoReturn

import pytest
from jinja2 import ChoiceLoader, DictLoader
from quart import Quart, Response, abort
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

from tests.support.asgi import ask
from tests.support.browsing import Page, Serve, Visitor
from tests.support.log_file import LogFile

TITLES = {
    400: ("请求有误", "Bad request"),
    401: ("请登录后访问此页面", "Please sign in to see this page"),
    403: ("没有权限", "Not allowed"),
    404: ("网页未找到", "Page not found"),
    405: ("不支持的请求方法", "Method not allowed"),
    408: ("请求超时", "The request took too long"),
    409: ("内容冲突", "Conflict"),
    413: ("提交的内容过大", "Too much content"),
    429: ("请求过于频繁", "Too many requests"),
    500: ("发生意外错误", "An unexpected error has occurred"),
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
        abort(Response("just so", 410))


async def test_a_page_in_the_sites_look(visitor: Visitor) -> None:
    for status, (title, _) in TITLES.items():
        page = await visitor.get(f"/end/{status}")

        assert page.status == status
        assert page.headers["Content-Type"] == "text/html; charset=utf-8", status
        assert '<html lang="zh-Hans">' in page.text, status
        assert '<link rel="stylesheet" href="/static/quartblog.css' in page.text, status
        assert f"<h1>{title}</h1>" in page.text, status
        assert f"<title>{title} - 微博</title>" in page.text, status
        assert "返回首页" in page.text, status


async def test_a_page_in_the_visitors_language(app: Quart) -> None:
    for status, (_, title) in TITLES.items():
        page = await Visitor(app, Accept_Language="en-GB").get(f"/end/{status}")

        assert '<html lang="en">' in page.text, status
        assert f"<h1>{title}</h1>" in page.text, status
        assert "Back to the home page" in page.text, status


MAIL = {"server": "127.0.0.1", "port": 1, "admins": ["ops@example.org"]}
NOTIFIED = ("已通知管理员，给您带来的不便，请多多原谅", "The administrator has been notified; we apologise")
RECORDED = ("已记录，给您带来的不便，请多多原谅", "It has been recorded; we apologise")


@pytest.mark.parametrize(("mail", "told"), [(MAIL, NOTIFIED), ({}, RECORDED)], ids=["mailed", "only recorded"])
async def test_a_failure_says_below_its_heading_who_knows_of_it(
    serve: Serve, mail: dict[str, object], told: tuple[str, str]
) -> None:
    app = await serve(mail=mail)

    for visitor, words in zip((Visitor(app), Visitor(app, Accept_Language="en")), told, strict=True):
        page = await visitor.get("/errors/rehearsal")
        problem = json.loads((await visitor.get("/errors/rehearsal", Accept="application/json")).text)

        assert f'<p class="words">{words}' in page.text
        assert problem["title"] in page.text
        assert problem["detail"].startswith(words)


async def test_a_problem_document_for_a_program(visitor: Visitor) -> None:
    for status, (title, _) in TITLES.items():
        page = await visitor.get(f"/end/{status}", Accept="application/json")

        problem = json.loads(page.text)
        assert page.status == status
        assert page.headers["Content-Type"] == "application/problem+json", status
        assert problem.pop("type") == "about:blank", status
        assert problem.pop("status") == status
        assert problem.pop("title") == title, status
        assert problem.pop("error_id", None) == page.headers.get("X-Error-Id"), status
        assert set(problem) <= {"detail"}, status


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


@pytest.mark.parametrize(("status", "like"), [(410, 400), (418, 400), (416, 400), (501, 500), (504, 500)])
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

    assert (page.status, page.text) == (410, "just so")


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


def without_id(page: Page) -> str:
    return page.text.replace(page.headers["X-Error-Id"], "")


async def test_two_failures_differ_by_their_ids_alone(visitor: Visitor) -> None:
    first, second = await visitor.get("/end/500"), await visitor.get("/end/500")

    assert first.headers["X-Error-Id"] != second.headers["X-Error-Id"]
    for page in (first, second):
        assert page.text.count(f"<code>{page.headers['X-Error-Id']}</code>") == 1
    assert without_id(first) == without_id(second)


async def test_each_reader_in_turn_gets_a_page_of_their_own_language(app: Quart) -> None:
    languages = ["zh-CN", "en-GB", "zh-CN", "en-GB"]
    pages = [await Visitor(app, Accept_Language=language).get("/nowhere") for language in languages]

    assert [TITLES[404].index(page.text.partition("<h1>")[2].partition("</h1>")[0]) for page in pages] == [0, 1, 0, 1]


async def test_two_reasons_for_one_status_are_told_apart(visitor: Visitor) -> None:
    plain = await visitor.get("/end/403")
    named = await visitor.send("POST", "/login")

    assert plain.status == named.status == 403
    assert TITLES[403][0] in plain.text
    assert "不清楚表单来自哪里" in named.text


@pytest.mark.parametrize(("reloading", "shown"), [(True, "after"), (False, "before")])
async def test_a_changed_template_shows_where_templates_are_reloaded(
    app: Quart, visitor: Visitor, *, reloading: bool, shown: str
) -> None:
    templates = {"error.html": "before"}
    assert app.jinja_env.loader is not None
    app.jinja_env.loader = ChoiceLoader([DictLoader(templates), app.jinja_env.loader])
    app.jinja_env.auto_reload = reloading
    await visitor.get("/nowhere")
    templates["error.html"] = "after"
    if not reloading:  # Not even asked for again: the page was rendered, not only the template read.
        app.jinja_env.loader = DictLoader({})
        assert app.jinja_env.cache is not None
        app.jinja_env.cache.clear()

    assert (await visitor.get("/nowhere")).text == shown


async def test_a_site_that_is_mounted_below_a_path_says_so_to_the_operator(app: Quart, log: LogFile) -> None:
    below = await ask(app, "/blog/hello", root_path="/blog")

    assert below.status == 500
    assert "RuntimeError: root_path is set: quartblog serves the blog only at the root of a host name" in log.text


async def test_an_id_stands_in_its_place_only_whatever_the_site_is_called(app: Quart, visitor: Visitor) -> None:
    app.jinja_env.globals["site_name"] = "\0 <error id> <code>"

    page = await visitor.get("/end/500")

    assert page.text.count(page.headers["X-Error-Id"]) == 1
    assert "\0 &lt;error id&gt; &lt;code&gt;" in page.text


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json, " + "a/b;q=0.1, " * 6_000, "application/problem+json"),
        ("a/b;q=0.1, " * 6_000 + "application/json", "text/html; charset=utf-8"),
        ("," * 60_000, "text/html; charset=utf-8"),
        ('"' * 60_000, "text/html; charset=utf-8"),
        (";" * 60_000, "text/html; charset=utf-8"),
    ],
)
async def test_of_a_huge_accept_header_the_beginning_counts(app: Quart, accept: str, kind: str) -> None:
    page = await ask(app, "/nowhere", headers=[(b"accept", accept.encode())])

    assert (page.status, page.headers["Content-Type"]) == (404, kind)


async def test_an_accept_header_may_be_cut_anywhere(app: Quart) -> None:
    accept = 'text/html;level="a,b";q=0.3, application/*;v="x\\"y";q=0.25, */*;q=1e3'
    for end in range(len(accept)):
        page = await ask(app, "/nowhere", headers=[(b"accept", accept[:end].encode())])

        assert page.status == 404
