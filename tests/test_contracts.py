"""What scripts and people rely on: routes, fields and texts that must not change by accident."""

import inspect
import re

import pytest
from quart import Quart

from quartblog.app import create_app
from quartblog.models import User
from quartblog.settings import Settings
from tests.support.browsing import PASSWORD, Page, Serve, SignIn, Visitor
from tests.support.log_file import LogFile

ROUTES = {
    "/": {"GET", "POST"},
    "/hello": {"GET"},
    "/login": {"GET", "POST"},
    "/logout": {"GET", "POST"},
    "/register": {"GET", "POST"},
    "/user/info/<username>": {"GET"},
    "/user/edit": {"GET", "POST"},
    "/healthz": {"GET"},
    "/readyz": {"GET"},
    "/metrics": {"GET"},
}
FIELDS = {
    "/login": {"username", "password", "remember_me"},
    "/register": {"username", "email", "password", "password2"},
    "/user/edit": {"username", "about_me"},
    "/": {"body"},
}
LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR: Exception on request GET /errors/rehearsal"
    r" \[in /\S+/app\.py:\d+\] \[id [0-9a-z]{12}\]"
)


def fields(page: Page) -> set[str]:
    """The names of what a page's main form sends."""
    (form,) = re.findall(r"<main.*?(<form.*?</form>).*</main>", page.text, re.DOTALL)
    return set(re.findall(r'<(?:input|textarea)[^>]*\bname="([^"]+)"', form))


def test_the_factory_takes_settings_or_finds_them() -> None:
    first, *others = inspect.signature(create_app).parameters.values()

    assert (first.name, first.default) == ("settings", None)
    assert all(other.kind is other.KEYWORD_ONLY and other.default is not other.empty for other in others)


def test_the_routes_are_there(app: Quart) -> None:
    found: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        found.setdefault(rule.rule, set()).update((rule.methods or set()) - {"HEAD", "OPTIONS"})

    assert {path: found.get(path) for path in ROUTES} == ROUTES


@pytest.mark.parametrize("path", FIELDS)
async def test_the_forms_have_their_fields(visitor: Visitor, ada: User, sign_in: SignIn, path: str) -> None:
    signed_in = await sign_in(ada)

    assert fields(await (visitor if path in {"/login", "/register"} else signed_in).get(path)) == FIELDS[path]


async def test_the_rehearsal_is_off_unless_asked_for(serve: Serve) -> None:
    visitor = Visitor(await serve(errors={"rehearsal_route": Settings().errors.rehearsal_route}))

    assert (await visitor.get("/errors/rehearsal")).status == 404
    assert (await visitor.send("POST", "/errors/rehearsal/x")).status == 404


async def test_the_texts_of_the_original_are_said(visitor: Visitor, log: LogFile, serve: Serve) -> None:
    mailed = await serve(mail={"server": "127.0.0.1", "port": 1, "admins": ["ops@example.org"]})
    account = {"username": "ada", "email": "ada@example.com", "password": PASSWORD, "password2": PASSWORD}

    async def page_behind(answer: Page) -> str:
        return (await visitor.get(answer.location)).text

    said = {
        "start": (await visitor.get("/")).text,
        "unknown": (await visitor.get("/nowhere")).text,
        "failure": (await Visitor(mailed).get("/errors/rehearsal")).text,
        "sign in first": await page_behind(await visitor.get("/user/edit")),
        "registered": await page_behind(await visitor.submit("/register", **account)),
        "name taken": (await visitor.submit("/register", **account | {"email": "b@example.com"})).text,
        "address taken": (await visitor.submit("/register", **account | {"username": "grace"})).text,
        "wrong": (await visitor.submit("/login", username="ada", password="x")).text,
        "signed in": await page_behind(await visitor.submit("/login", username="ada", password=PASSWORD)),
        "saved": await page_behind(await visitor.submit("/user/edit", username="ada", about_me="")),
    }

    expected = {
        "start": ["首页", "登录", "注册"],
        "unknown": ["网页未找到", "返回首页"],
        "failure": ["<h1>发生意外错误</h1>", ">已通知管理员，给您带来的不便，请多多原谅</p>", "返回首页"],
        "sign in first": ["请登录后访问此页面"],
        "registered": ["祝贺，你现在已成为一个注册用户！"],
        "name taken": ["该用户名已被使用"],
        "address taken": ["该邮箱已被使用"],
        "wrong": ["用户名或密码有误"],
        "signed in": ["首页", "个人资料", "退出"],
        "saved": ["您的修改已保存"],
    }
    missing = {(scene, text) for scene, texts in expected.items() for text in texts if text not in said[scene]}
    assert missing == set()
    assert "微博已启动" in log.text


async def test_the_log_line_keeps_its_form(visitor: Visitor, log: LogFile) -> None:
    page = await visitor.get("/errors/rehearsal")

    assert LOG_LINE.fullmatch(log.failure())
    assert log.failure().endswith(f"[id {page.headers['X-Error-Id']}]")
