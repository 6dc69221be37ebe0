"""The reader's language: which one, that no text is missing in it, and that no text escapes it."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from babel.dates import format_datetime
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, nodes
from jinja2.ext import babel_extract
from quart import Quart

import quartblog
from quartblog.web import i18n
from quartblog.web.i18n import N_, Language, _, age_at, locale, negotiate, translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babel.messages.catalog import Catalog

PACKAGE = Path(quartblog.__file__).parent
TEMPLATES = sorted((PACKAGE / "templates").rglob("*.html"))
MODULES = sorted(PACKAGE.rglob("*.py"))
CJK = re.compile("[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")

# Chinese that no catalogue translates, by module, and why.
NOT_FOR_THE_CATALOGUE = {
    "app.py": "the start-up line is a contract with the operator",
    "delivery": "the mail's subject is a contract with the operator",
    "settings": "the site's name is the operator's to choose",
}


@pytest.fixture
def app() -> Quart:
    app = Quart("quartblog")
    i18n.init_app(app, "zh")
    return app


@pytest.fixture
def english() -> Catalog:
    with (i18n.FOLDER / "en" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale="en", abort_invalid=True)


def texts() -> set[str]:
    """Every marked text of the package."""
    found: set[str] = set()
    for path in [*MODULES, *TEMPLATES]:
        method: Any = "python" if path.suffix == ".py" else babel_extract
        with path.open("rb") as file:
            marked = extract(method, file, {"_": None, "N_": None}, (), {"silent": "false"})
            found.update(text for _line, text, _comments, _context in marked if isinstance(text, str))
    return found


# Every text has its English


def test_every_text_has_an_english_translation(english: Catalog) -> None:
    translated = {message.id for message in english if message.string and not message.fuzzy}

    assert texts() - translated == set(), "translate it in quartblog/translations/en/LC_MESSAGES/messages.po"


def test_the_catalogue_holds_no_text_that_is_gone(english: Catalog) -> None:
    assert {message.id for message in english if message.id} - texts() == set()
    assert list(english.obsolete) == []


def test_translations_keep_the_placeholders(english: Catalog) -> None:
    def placeholders(text: object) -> list[str]:
        return sorted(re.findall(r"%(?:\(\w+\))?[a-z]", str(text)))

    changed = {m.id for m in english if m.id and placeholders(m.id) != placeholders(m.string)}

    assert changed == set()


def test_no_translation_was_left_in_chinese(english: Catalog) -> None:
    assert [message.id for message in english if message.id and CJK.search(str(message.string))] == []


# No text escapes it


class Prose(HTMLParser):
    """Collects what a template says outside of expressions: text, and attributes that are read aloud or shown."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self._keep(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"title", "alt", "placeholder", "aria-label"}:
                self._keep(value or "")

    def _keep(self, text: str) -> None:
        if any(character.isalpha() for character in text):
            self.found.append(text.strip())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_says_nothing_in_a_language_of_its_own(path: Path) -> None:
    tokens = Environment(autoescape=True).lex(path.read_text("utf-8"))
    prose = Prose()
    prose.feed("".join(text for _line, kind, text in tokens if kind == "data"))
    prose.close()

    assert prose.found == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_an_expression_of_a_template_marks_its_chinese(path: Path) -> None:
    tree = Environment(autoescape=True).parse(path.read_text("utf-8"))
    marked = {
        id(call.args[0])
        for call in tree.find_all(nodes.Call)
        if isinstance(call.node, nodes.Name) and call.node.name == "_"
    }
    unmarked = [
        constant.value
        for constant in tree.find_all(nodes.Const)
        if CJK.search(str(constant.value)) and id(constant) not in marked
    ]

    assert unmarked == []


def unmarked_chinese(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    exempt: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            exempt.add(node.value)  # docstrings
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in {"_", "N_"}:
            exempt.add(node.args[0])
    strings = (
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in exempt
    )
    for line, text in strings:
        if CJK.search(text):
            yield f"line {line}: {text}"


def is_exempt(path: Path) -> bool:
    place = path.relative_to(PACKAGE)
    return any(place.is_relative_to(known) for known in NOT_FOR_THE_CATALOGUE)


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if not is_exempt(path)],
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_a_module_marks_its_chinese(path: Path) -> None:
    assert list(unmarked_chinese(path)) == []


@pytest.mark.parametrize("place", NOT_FOR_THE_CATALOGUE)
def test_every_exemption_is_still_needed(place: str) -> None:
    exempt = PACKAGE / place
    modules = exempt.rglob("*.py") if exempt.is_dir() else [exempt]

    assert any(list(unmarked_chinese(module)) for module in modules)


# Which language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-TW", "zh"),
        ("zh-Hans", "zh"),
        ("zh-Hant-HK,zh;q=0.9", "zh"),
        ("zh_CN", "zh"),
        ("ZH", "zh"),
        ("en-GB", "en"),
        ("EN-us,en;q=0.5", "en"),
        ("zh-TW, en;q=0.5", "zh"),
        ("en;q=0.5, zh;q=0.9", "zh"),
        ("fr, de;q=0.9, en;q=0.1", "en"),
        ("en;q=0, zh;q=0.1", "zh"),
        ("en-US;q=0.8, *;q=0.1", "en"),
    ],
)
def test_the_readers_first_known_language_is_taken(header: str, language: Language) -> None:
    other: Language = "en" if language == "zh" else "zh"

    assert negotiate(header, other) == language


@pytest.mark.parametrize("default", ["zh", "en"])
@pytest.mark.parametrize("header", ["", "*", "fr", "fr-FR, de", "english", "enx", ";;;,,,", "q=1", "en;q=nonsense"])
def test_a_header_that_names_none_of_ours_means_the_sites_language(header: str, default: Language) -> None:
    assert negotiate(header, default) == default


def test_a_refused_language_is_not_the_answer_where_another_is_left() -> None:
    assert negotiate("zh;q=0, *", "zh") == "en"
    assert negotiate("zh;q=0, en;q=0", "zh") == "zh"
    assert negotiate("en, en;q=0", "zh") == "zh"


@given(st.text() | st.text(alphabet="zhen-_*;q=0.19, \"\\'%u\x00\ud800"))
def test_no_header_raises(header: str) -> None:
    assert negotiate(header, "zh") in {"zh", "en"}


def test_only_the_beginning_of_an_endless_header_is_read() -> None:
    assert negotiate("fr," * 100 + "en", "zh") == "en"
    assert negotiate("fr," * 20_000 + "en", "zh") == "zh"


async def test_a_request_is_answered_in_the_browsers_language(app: Quart) -> None:
    @app.get("/home")
    async def home() -> str:
        return f"{locale()} {_('首页')}"

    client = app.test_client()
    answers = [
        await (await client.get("/home", headers=headers)).get_data(as_text=True)
        for headers in ({"Accept-Language": "en-GB"}, {"Accept-Language": "zh-TW"}, {"Accept-Language": "fr"}, {})
    ]

    assert answers == ["en Home", "zh 首页", "zh 首页", "zh 首页"]


async def test_the_language_is_decided_once_a_request(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def negotiate_once(header: str, default: str) -> str:
        asked.append(header)
        return "en"

    monkeypatch.setattr(i18n, "negotiate", negotiate_once)

    async with app.test_request_context("/", headers={"Accept-Language": "en"}):
        assert [_("首页"), _("登录"), locale()] == ["Home", "Sign in", "en"]

    assert asked == ["en"]


async def test_outside_of_a_request_the_site_speaks_its_own_language(app: Quart) -> None:
    assert (locale(), _("首页")) == ("zh", "首页")

    i18n.init_app(app, "en")
    async with app.app_context():
        assert (locale(), _("首页")) == ("en", "Home")


# Translating


def test_variables_replace_their_placeholders() -> None:
    assert translate("你好，%(name)s！", "en", name="Ada") == "Hello, Ada!"
    assert translate("你好，%(name)s！", "zh", name="Ada") == "你好，Ada！"


def test_a_variable_is_never_read_as_a_placeholder_or_as_markup() -> None:
    assert translate("你好，%(name)s！", "en", name="%(name)s %s 100%") == "Hello, %(name)s %s 100%!"


async def test_a_variable_is_escaped_like_any_other_text(app: Quart) -> None:
    async with app.test_request_context("/"):
        template = app.jinja_env.from_string("{{ _('你好，%(name)s！', name='<b>') }}")

        assert await template.render_async() == "你好，&lt;b&gt;！"


def test_a_missing_variable_leaves_its_placeholder_standing() -> None:
    assert translate("你好，%(name)s！", "zh", nome="Ada") == "你好，%(name)s！"


def test_a_bare_percent_sign_is_only_a_percent_sign() -> None:
    assert translate("100% %d", "en", name="Ada") == "100% %d"


def test_a_text_without_translation_is_shown_as_it_is() -> None:
    assert translate("没有译文", "en") == "没有译文"
    assert translate("", "en") == ""


def test_marking_changes_nothing() -> None:
    assert N_("首页") == "首页"


def test_a_draft_counts_as_missing(tmp_path: Path) -> None:
    file = tmp_path / "en" / "LC_MESSAGES" / "messages.po"
    file.parent.mkdir(parents=True)
    file.write_text('#, fuzzy\nmsgid "首页"\nmsgstr "Hoem"\n\nmsgid "登录"\nmsgstr "Sign in"\n', "utf-8")

    assert i18n.catalogue("en", tmp_path) == {"登录": "Sign in"}


def test_the_start_reads_every_catalogue_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        i18n.catalogue("en", tmp_path)
    i18n.catalogue.cache_clear()

    i18n.init_app(Quart("quartblog"), "zh")

    assert i18n.catalogue.cache_info().currsize == len(i18n.LANGUAGES) - 1


# Dates

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "chinese", "english"),
    [
        (timedelta(0), "刚刚", "just now"),
        (timedelta(seconds=44), "刚刚", "just now"),
        (timedelta(minutes=5), "5分钟前", "5 minutes ago"),
        (timedelta(hours=3), "3小时前", "3 hours ago"),
        (timedelta(days=2), "2天前", "2 days ago"),
        (timedelta(days=7), "2026年3月3日", "March 3, 2026"),
        (timedelta(days=400), "2025年2月3日", "February 3, 2025"),
        (timedelta(minutes=-5), "刚刚", "just now"),
    ],
)
def test_an_age_is_relative_within_a_week_and_a_date_before(age: timedelta, chinese: str, english: str) -> None:
    assert age_at(NOON - age, int(NOON.timestamp()), "zh") == chinese
    assert age_at(NOON - age, int(NOON.timestamp()), "en") == english


async def test_templates_write_moments_in_utc_and_the_readers_language(app: Quart) -> None:
    shanghai = datetime.fromisoformat("2020-01-01T07:30:00+08:00")
    template = app.jinja_env.from_string("{{ at | moment(at | age) }}|{{ locale() }}")

    async with app.test_request_context("/", headers={"Accept-Language": "en"}):
        element, language = (await template.render_async(at=shanghai)).split("|")

    assert 'datetime="2019-12-31T23:30:00+00:00"' in element
    assert f'title="{format_datetime(shanghai.astimezone(UTC), "long", locale="en")}"' in element
    assert ">December 31, 2019</time>" in element
    assert language == "en"

    async with app.test_request_context("/", headers={"Accept-Language": "zh"}):
        assert 'title="2019年12月31日 UTC 23:30:00"' in await template.render_async(at=shanghai)
