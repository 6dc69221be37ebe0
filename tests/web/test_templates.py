"""The pages as a visitor meets them: rendered from plain objects, without database, under the strictest undefined."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest
from jinja2 import StrictUndefined
from quart import Quart, flash, render_template
from wtforms import BooleanField, PasswordField, StringField, TextAreaField
from wtforms.validators import DataRequired, Length

import quartblog
from quartblog.account.service import Session
from quartblog.app import BLUEPRINTS
from quartblog.auth.service import SignedIn
from quartblog.delivery import Outbox, Query, Statistics
from quartblog.operations import presentation
from quartblog.operations.tracebacks import parts
from quartblog.posts.service import Entry
from quartblog.posts.service import Page as Timeline
from quartblog.profile.avatar import avatar, contrast
from quartblog.settings import report
from quartblog.web import i18n, pieces
from quartblog.web.forms import Form
from quartblog.web.i18n import N_
from tests.support.failures import EVENT, a_message, events, report_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Render = Callable[..., Awaitable["Page"]]

PACKAGE = Path(quartblog.__file__).parent
STYLESHEET = (PACKAGE / "static" / "quartblog.css").read_text("utf-8")
VOID = {"meta", "link", "input", "img", "br"}

ADA = SignedIn(
    1,
    "ada",
    "First.\nSecond.",
    datetime.now(UTC) - timedelta(hours=2),
    is_admin=False,
    login_id=1,
    login_used=datetime.now(UTC),
)


class ExampleForm(Form):
    username = StringField(
        N_("用户名"), [DataRequired(N_("请填写用户名")), Length(max=64)], render_kw={"autocomplete": "username"}
    )
    password = PasswordField(N_("密码"), [DataRequired(N_("请填写密码"))])
    about_me = TextAreaField(N_("关于我"), [Length(max=140)], description=N_("最多 140 个字符"))
    remember_me = BooleanField(N_("记住我"))


class Page(HTMLParser):
    """A page taken apart: its elements as (tag, attributes, text inside)."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element: tuple[str, dict[str, str], list[str]] = (tag, {name: value or "" for name, value in attrs}, [])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        for _tag, _attributes, text in self._open:
            text.append(data)

    def find(self, wanted: str, **having: str) -> list[dict[str, str]]:
        """Attributes of every such element; `text` is what it says."""
        return [
            attributes | {"text": " ".join("".join(text).split())}
            for tag, attributes, text in self.elements
            if tag == wanted and all(attributes.get(name) == value for name, value in having.items())
        ]

    def one(self, wanted: str, **having: str) -> dict[str, str]:
        (element,) = self.find(wanted, **having)
        return element

    def link_texts(self) -> list[str]:
        return [link["text"] for link in self.find("a")]


@pytest.fixture
def app() -> Quart:
    """Quart with our templates and addresses, and nothing behind them."""
    app = Quart("quartblog")
    app.secret_key = "for tests"
    i18n.init_app(app, "zh")
    app.jinja_env.undefined = StrictUndefined
    pieces.init_app(app)
    presentation.init_app(app)
    app.jinja_env.globals.update(site_name="微博", registration_open=True, avatar=avatar)

    # The real addresses, so that a template may link to any page. No view is called.
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app


@pytest.fixture
def render(app: Quart) -> Render:
    """Render a template as the page at `path`, in `language`, for `visitor`."""

    async def render(
        template: str, *, path: str = "/", language: str = "zh", visitor: object = None, **context: Any
    ) -> Page:
        async with app.test_request_context(path, headers={"Accept-Language": language}):
            return Page(await render_template(template, visitor=visitor, **context))

    return render


def post(body: str = "hello", author: str = "ada", number: int = 7) -> Entry:
    return Entry(number, author, body, datetime.now(UTC))


def timeline(*posts: Entry, older: int | None = None, newer: int | None = None) -> Timeline:
    return Timeline(posts, older, newer)


def home(*posts: Entry, older: int | None = None, newer: int | None = None, **changes: Any) -> dict[str, Any]:
    return {"form": None, "page": timeline(*posts, older=older, newer=newer)} | changes


def invalid(**values: Any) -> ExampleForm:
    form = ExampleForm(data=values)
    assert not form.validate()
    return form


def operations(*, groups: bool) -> dict[str, Any]:
    """What the pages of errors show."""
    with closing(Outbox()) as outbox:
        if groups:
            outbox.record(events(3, breadcrumbs=("12:00:00 INFO blog: looked up a post",)))
            report_all(outbox)
            outbox.note(EVENT.fingerprint, "the disk is full", who="ada")
            outbox.heartbeats.beat("host:1", leader=True, figures=Statistics(refused={"INFO": 3}).as_dict())
            outbox.post(a_message(), ["ops@example.org"])
        group, details = outbox.group(EVENT.fingerprint), outbox.details(EVENT.fingerprint)
        page, mails, workers, totals = outbox.page(Query()), outbox.mails(), outbox.workers(), outbox.totals()
    return {
        "visitor": ADA,
        "healthy": True,
        "following": None,
        "first": "/operations/errors",
        "like_an_id": True,
        "everywhere": "/operations/errors?state=all",
        "act": "/operations/errors",
        "address": lambda asked: f"/operations/errors?{urlencode(asked)}",
        "level": "ERROR",
        "last_note": details.history[0] if details else None,
        "place": 1,
        "kept": frozenset({EVENT.error_id}),
        "mutes": {"1h": "1 小时"},
        "verdict": "a thread has ended",
        "page": page,
        "asked": dict.fromkeys(("q", "state", "level", "order", "route", "release"), ""),
        "group": group,
        "details": details,
        "sample": group.samples[0] if group else None,
        "newer": None,
        "older": "0000aa000001",
        "asked_id": None,
        "redacted": True,
        "headline": "ValueError: twelve",
        "trace": parts(EVENT.traceback),
        "workers": workers,
        "totals": totals,
        "mails": {"dead": mails, "waiting": mails, "sent": mails},
        "queued": (1, 10),
        "refused": {"INFO": 3},
        "slowest": {"to_file_minutes": [None, {"median_ms": 1.0, "p99_ms": 20.0}]},
        "settings": [("site", [report.Entry("site", "name", "x", '"x"', "config.toml", changed=True)])],
        "summed": [("accepted", 1, True)],
        "refresh": None,
        "choices": ("5",),
    }


PAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "home": ("home.html", home(post(), older=7, newer=7)),
    "home, signed in": ("home.html", home(visitor=ADA, form=ExampleForm())),
    "login": ("auth/login.html", {"form": invalid(), "next_path": "/user/edit"}),
    "register": ("auth/register.html", {"form": ExampleForm()}),
    "logout": ("auth/logout.html", {"visitor": ADA}),
    "profile": (
        "profile/show.html",
        {"visitor": ADA, "person": ADA, "page": timeline(post()), "is_self": True},
    ),
    "account": (
        "account/show.html",
        {
            "visitor": ADA,
            "form": invalid(),
            "email": "ada@example.org",
            "sessions": [
                Session(number, "Firefox", "203.0.113.0/24", ADA.last_seen, ADA.last_seen) for number in (1, 2)
            ],
            "here": 1,
        },
    ),
    "edit": ("profile/edit.html", {"visitor": ADA, "form": invalid()}),
    "errors": ("operations/groups.html", operations(groups=True)),
    "no errors": ("operations/groups.html", operations(groups=False)),
    "delivery": ("operations/delivery.html", operations(groups=True)),
    "no delivery": ("operations/delivery.html", operations(groups=False)),
    "enter": ("operations/enter.html", {"key": "a key"}),
    "one error": ("operations/group.html", operations(groups=True)),
    "error": ("error.html", {"status": 500, "title": "发生意外错误", "hint": None, "error_id": "k3x7m2qpa9wz"}),
}


# Every page


def test_every_page_is_among_those_looked_at() -> None:
    folder = PACKAGE / "templates"
    sources = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.html")}
    frames = {name for source in sources.values() for name in re.findall(r'{% extends "(.*?)" %}', source)}
    pages = {name for name, source in sources.items() if "{% extends" in source} - frames

    assert pages == {template for template, _context in PAGES.values()}, "add it to PAGES"


@pytest.mark.parametrize(("template", "context"), PAGES.values(), ids=PAGES)
async def test_a_page_needs_no_script_no_inline_style_and_no_other_host(
    render: Render, template: str, context: dict[str, Any]
) -> None:
    page = await render(template, **context)

    for tag, attributes, _text in page.elements:
        assert tag not in {"script", "style", "iframe", "base"}
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("href", "src", "action"):
            assert attributes.get(name, "/").startswith(("/", "#"))


@pytest.mark.parametrize(("language", "tag"), [("zh-TW", "zh-Hans"), ("en-GB", "en")])
@pytest.mark.parametrize(("template", "context"), PAGES.values(), ids=PAGES)
async def test_a_page_has_a_language_a_title_one_heading_and_a_way_past_the_navigation(
    render: Render, template: str, context: dict[str, Any], language: str, tag: str
) -> None:
    page = await render(template, language=language, **context)

    assert page.one("html")["lang"] == tag
    # Pictures may have titles, too.
    assert page.find("title")[0]["text"].endswith(" - 微博")
    assert page.one("h1")["text"]
    assert page.find("a")[0]["href"] == "#" + page.one("main")["id"]


@pytest.mark.parametrize(("template", "context"), PAGES.values(), ids=PAGES)
async def test_a_form_is_sent_to_this_site_by_post(render: Render, template: str, context: dict[str, Any]) -> None:
    page = await render(template, **context)

    assert {form["method"] for form in page.find("form") if form.get("role") != "search"} <= {"post"}
    assert all(form["action"].startswith("/") for form in page.find("form"))
    assert page.find("input", type="hidden") == []


@pytest.mark.parametrize(("template", "context"), PAGES.values(), ids=PAGES)
async def test_every_field_has_a_label_and_no_id_is_used_twice(
    render: Render, template: str, context: dict[str, Any]
) -> None:
    page = await render(template, **context)

    fields = [
        *page.find("textarea"),
        *page.find("select"),
        *(field for field in page.find("input") if field.get("type") != "hidden"),
    ]
    ids = [attributes["id"] for _tag, attributes, _text in page.elements if "id" in attributes]
    assert {field["id"] for field in fields} == {label["for"] for label in page.find("label")}
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", sorted((PACKAGE / "templates").rglob("*.html")), ids=lambda path: path.name)
def test_no_template_includes_a_file_per_row_or_switches_escaping_off(path: Path) -> None:
    assert re.findall(r"{%-?\s*(?:include|autoescape)|\|\s*safe\b", path.read_text("utf-8")) == []


# Who is here


async def test_a_stranger_is_offered_to_sign_in_or_register(render: Render) -> None:
    page = await render("home.html", **home())

    assert page.one("nav")["text"] == "首页 登录 注册"
    assert page.find("form") == []


async def test_a_signed_in_visitor_reaches_the_profile_and_signs_out_by_a_button(render: Render) -> None:
    page = await render("home.html", visitor=ADA, **home())

    assert page.one("nav")["text"] == "首页 个人资料 退出"
    assert page.one("a", href="/user/info/ada")["text"] == "个人资料"
    assert page.one("form", action="/logout")["method"] == "post"


async def test_registration_is_not_offered_where_it_is_closed(app: Quart, render: Render) -> None:
    app.jinja_env.globals["registration_open"] = False

    navigation = await render("home.html", **home())
    login = await render("auth/login.html", form=ExampleForm(), next_path=None)
    register = await render("auth/register.html", form=ExampleForm())

    assert "注册" not in navigation.source + login.source
    assert "本站暂不开放注册" in register.source
    assert register.find("form") == []


@pytest.mark.parametrize(
    ("path", "current"), [("/", "首页"), ("/user/info/ada", "个人资料"), ("/user/info/grace", None), ("/nowhere", None)]
)
async def test_the_navigation_marks_the_page_one_is_on(render: Render, path: str, current: str | None) -> None:
    page = await render("home.html", path=path, visitor=ADA, **home())

    assert [link["text"] for link in page.find("a", **{"aria-current": "page"})] == ([current] if current else [])


async def test_what_the_last_action_had_to_say_is_announced(app: Quart) -> None:
    async with app.test_request_context("/"):
        await flash("您的修改已保存", "success")
        await flash("请登录后访问此页面")
        page = Page(await render_template("home.html", visitor=None, **home()))

    assert page.one("div", role="status")["text"] == "您的修改已保存 请登录后访问此页面"
    assert [notice["class"] for notice in page.find("p") if "notice" in notice.get("class", "")] == [
        "notice success",
        "notice message",
    ]


# Posts and people


async def test_a_post_is_plain_text_and_keeps_its_lines(render: Render) -> None:
    page = await render("home.html", **home(post("<b>bold</b>\n  & more")))

    assert "&lt;b&gt;bold&lt;/b&gt;\n  &amp; more</p>" in page.source
    assert page.find("b") == []
    assert "white-space: pre-wrap" in re.findall(r"^\.body {(.*)}", STYLESHEET, re.MULTILINE)[0]


async def test_a_post_names_its_author_and_its_time(render: Render) -> None:
    page = await render("home.html", **home(post(author="李清照", number=12)))

    assert page.one("a", **{"class": "author"})["text"] == "李清照"
    assert page.one("li", id="post-12")["text"].endswith("刚刚 hello")


async def test_an_empty_home_page_says_so(render: Render) -> None:
    stranger = await render("home.html", **home())
    member = await render("home.html", **home(visitor=ADA, form=ExampleForm()))

    assert "这里还没有内容" in stranger.source
    assert "登录后就能写下第一条" in stranger.source
    assert "写下第一条吧" in member.source


async def test_only_the_pages_that_exist_are_linked(render: Render) -> None:
    first = await render("home.html", **home(post(), older=7))
    last = await render("home.html", **home(post(), newer=7))
    only = await render("home.html", **home(post()))

    assert first.one("a", rel="next")["href"] == "/?before=7"
    assert first.find("a", rel="prev") == []
    assert last.one("a", rel="prev")["href"] == "/?after=7"
    assert last.find("a", rel="next") == []
    assert len(only.find("nav")) == 1


async def test_only_ones_own_profile_offers_to_be_edited(render: Render) -> None:
    context = {"person": ADA, "page": timeline()}
    own = await render("profile/show.html", visitor=ADA, is_self=True, **context)
    foreign = await render("profile/show.html", visitor=ADA, is_self=False, **context)

    assert "编辑个人资料" in own.link_texts()
    assert "编辑个人资料" not in foreign.link_texts()
    assert "最近来访：2小时前" in own.one("section")["text"]
    assert "First.\nSecond." in own.source


# Forms


async def test_an_error_is_tied_to_its_field_and_the_first_one_gets_the_focus(render: Render) -> None:
    page = await render("auth/login.html", form=invalid(about_me="x" * 141), next_path=None)

    wrong = page.one("input", name="username")
    assert wrong["aria-invalid"] == "true"
    assert page.one("div", id=wrong["aria-describedby"])["text"] == "请填写用户名"
    assert [field["name"] for field in page.find("input") if "autofocus" in field] == ["username"]
    assert page.one("textarea")["aria-describedby"] == "about_me-error about_me-hint"
    assert page.one("p", id="about_me-hint")["text"] == "最多 140 个字符"
    assert page.one("textarea")["text"] == "x" * 141
    assert "aria-invalid" not in page.one("input", name="remember_me")


async def test_a_form_without_errors_claims_none(render: Render) -> None:
    page = await render("auth/login.html", form=ExampleForm(), next_path=None)

    assert not re.search("aria-invalid|autofocus|-error|role=.alert", page.source)
    assert page.one("input", name="username")["autocomplete"] == "username"


async def test_what_is_wrong_with_the_form_as_a_whole_is_an_alert(render: Render) -> None:
    form = ExampleForm()
    form.form_errors.append(N_("用户名或密码有误"))

    page = await render("auth/login.html", language="en", form=form, next_path=None)

    assert page.one("div", role="alert")["text"] == "Wrong username or password"


async def test_labels_hints_and_errors_are_in_the_readers_language(render: Render) -> None:
    page = await render("auth/login.html", language="en", form=invalid(), next_path=None)

    assert [label["text"] for label in page.find("label")] == ["Username", "Password", "About me", "Remember me"]
    assert page.one("p", id="about_me-hint")["text"] == "At most 140 characters"
    assert page.one("div", id="username-error")["text"] == "Please enter a username"


async def test_the_browser_neither_cuts_text_off_nor_explains_in_its_own_words(render: Render) -> None:
    page = await render("auth/login.html", form=ExampleForm(), next_path=None)

    assert "maxlength" not in page.source
    assert "novalidate" in page.one("form")
    assert "required" in page.one("input", name="username")


@pytest.mark.parametrize(("next_path", "action"), [("/user/edit", "/login?next=/user/edit"), (None, "/login")])
async def test_signing_in_leads_on_to_where_one_was_going(render: Render, next_path: str | None, action: str) -> None:
    page = await render("auth/login.html", form=ExampleForm(), next_path=next_path)

    assert page.one("form")["action"] == action


# Errors


async def test_an_error_page_asks_for_nothing_but_its_words(app: Quart) -> None:
    for name in ("get_flashed_messages", "avatar", "g", "session"):
        del app.jinja_env.globals[name]

    async with app.test_request_context("/", headers={"Accept-Language": "en"}):
        source = await app.jinja_env.get_template("error.html").render_async(
            status=404, title="网页未找到", hint="地址可能有误，或者内容已被删除。", error_id=None
        )

    page = Page(source)
    assert page.one("h1")["text"] == "Page not found"
    assert "The address may be wrong" in source
    assert page.find("code") == []
    assert "Back to the home page" in page.link_texts()


async def test_an_error_page_shows_the_id_to_quote(render: Render) -> None:
    template, context = PAGES["error"]

    page = await render(template, **context)

    assert page.one("code")["text"] == "k3x7m2qpa9wz"
    assert "返回首页" in page.link_texts()


async def test_who_must_sign_in_is_shown_the_way(render: Render) -> None:
    words = {"title": "请登录后访问此页面", "hint": None, "error_id": None}

    assert "登录" in (await render("error.html", status=401, **words)).link_texts()
    assert "登录" not in (await render("error.html", status=403, **words)).link_texts()


# The stylesheet


def palette(source: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", source))


def schemes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root {(.*?)}", STYLESHEET, re.DOTALL)
    return {"light": palette(light), "dark": palette(dark)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("front", "grounds", "least"),
    [
        ("ink", ("paper", "sheet"), 7),
        ("soft", ("paper", "sheet"), 4.5),
        ("seal", ("paper", "sheet"), 4.5),
        ("wrong", ("paper", "sheet"), 4.5),
        ("good", ("paper", "sheet"), 4.5),
        ("on-seal", ("seal",), 4.5),
        ("edge", ("paper", "sheet"), 3),
    ],
)
def test_every_colour_is_legible_in_both_schemes(
    scheme: str, front: str, grounds: tuple[str, ...], least: float
) -> None:
    colours = schemes()[scheme]

    for ground in grounds:
        assert contrast(colours[front], colours[ground]) >= least


def test_both_schemes_define_the_same_colours_and_nothing_else_has_one() -> None:
    light, dark = schemes().values()
    elsewhere = re.sub(r":root {.*?}|@media print {.*", "", STYLESHEET, flags=re.DOTALL)

    assert light.keys() == dark.keys()
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl", elsewhere) == []


def test_every_custom_property_is_used_and_defined() -> None:
    defined = set(re.findall(r"--([\w-]+):", STYLESHEET))

    assert set(re.findall(r"var\(--([\w-]+)\)", STYLESHEET)) == defined


def test_the_stylesheet_is_small_and_fetches_nothing() -> None:
    assert len(STYLESHEET.encode()) < 8192
    assert re.findall(r"url\(|@import", STYLESHEET) == []


def test_motion_waits_for_those_who_do_not_mind_it() -> None:
    always = re.sub(r"@media \(prefers-reduced-motion: no-preference\) {.*?\n}", "", STYLESHEET, flags=re.DOTALL)

    assert always != STYLESHEET
    assert re.findall(r"transition|animation|scroll-behavior: smooth", always) == []


def test_the_icon_is_a_drawing_without_script_or_style() -> None:
    icon = ET.parse(PACKAGE / "static" / "favicon.svg").getroot()

    tags = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in icon.iter()}
    assert tags == {"svg", "path"}
