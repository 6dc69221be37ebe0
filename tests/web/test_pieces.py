"""A piece is rendered once for equal values, and what it shows depends on nothing else."""

from __future__ import annotations

from datetime import UTC
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jinja2 import ChoiceLoader, DictLoader, meta
from markupsafe import Markup
from quart import Quart

import quartblog
from quartblog.web import i18n, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2 import Environment

    from quartblog.web.pieces import Pieces

FOLDER = Path(quartblog.__file__).parent / "templates"
# The error pages are pieces, too.
KEPT = ["error.html", *(f"pieces/{path.name}" for path in sorted((FOLDER / "pieces").glob("*.html")))]
# What Quart, quart-auth and the blog give to pages, and to no piece.
OF_A_REQUEST = {"request", "session", "g", "current_user", "visitor", "config", "get_flashed_messages"}


@pytest.fixture
def app() -> Quart:
    """Quart with templates that count how often they are rendered."""
    app = Quart("quartblog")
    i18n.init_app(app, "zh")
    app.jinja_env.globals["count"] = count(1).__next__
    app.jinja_env.loader = ChoiceLoader([DictLoader({"piece.html": "{{ count() }} {{ value }} {{ _('首页') }}"})])
    return app


@pytest.fixture
def piece(app: Quart) -> Pieces:
    return pieces.init_app(app)


async def test_equal_values_are_rendered_once(app: Quart, piece: Pieces) -> None:
    async with app.test_request_context("/"):
        first = await piece("piece.html", value=("a", 1, None))
        again = await piece("piece.html", value=("a", 1, None))
        other = await piece("piece.html", value=("b", 1, None))

    assert first == again
    assert [first[:2], other[:2]] == ["1 ", "2 "]


async def test_each_language_has_its_own(app: Quart, piece: Pieces) -> None:
    texts = []
    for language in ("zh", "en", "zh"):
        async with app.test_request_context("/", headers={"Accept-Language": language}):
            texts.append(await piece("piece.html", value="a"))

    assert texts == ["1 a 首页", "2 a Home", "1 a 首页"]


async def test_values_that_are_equal_and_look_different_are_not_mixed_up(app: Quart, piece: Pieces) -> None:
    async with app.test_request_context("/"):
        safe = await piece("piece.html", value=Markup("<b>"))
        text = await piece("piece.html", value="<b>")
        numbers = [await piece("piece.html", value=value) for value in (1, True)]

    assert [safe, text] == ["1 <b> 首页", "2 &lt;b&gt; 首页"]
    assert numbers == ["3 1 首页", "4 True 首页"]


async def test_what_is_used_last_is_kept_up_to_a_size(app: Quart) -> None:
    piece = pieces.Pieces(app.jinja_env, most=2_300)
    async with app.test_request_context("/"):
        kept = [(await piece("piece.html", value=value))[:1] for value in ("a", "b", "a", "c", "a", "b")]
        large = [(await piece("piece.html", value="x" * 2_000))[:1] for _ in range(2)]

        # Two of them fit.
        assert kept == ["1", "2", "1", "3", "1", "4"]
        assert large == ["5", "6"]
        assert (await piece("piece.html", value="b"))[:1] == "4"


async def test_with_debug_a_changed_template_shows_at_once(app: Quart) -> None:
    app.config["TEMPLATES_AUTO_RELOAD"] = app.jinja_env.auto_reload = True
    piece = pieces.init_app(app)
    async with app.test_request_context("/"):
        assert await piece("piece.html", value="a") != await piece("piece.html", value="a")


@pytest.mark.parametrize("template", KEPT)
def test_no_piece_looks_at_the_request(app: Quart, template: str) -> None:
    for name in {template, *below(template, app.jinja_env)}:
        source = (FOLDER / name).read_text("utf-8")
        looks = meta.find_undeclared_variables(app.jinja_env.parse(source)) & OF_A_REQUEST
        assert not looks, f"{name} is part of the piece {template}: give it {looks} as a value"


def below(template: str, environment: Environment) -> Iterator[str]:
    """The templates that this one extends or imports, and those that they do."""
    source = (FOLDER / template).read_text("utf-8")
    for name in meta.find_referenced_templates(environment.parse(source)):
        assert name is not None, f"{template} computes the name of a template"
        yield name
        yield from below(name, environment)


@pytest.mark.parametrize(
    "value", [["a"], {"a": 1}, 1.5, ("a", ["b"]), (("a", 1.5),), (True,), (Markup("<b>"),), UTC], ids=repr
)
async def test_a_value_whose_change_the_key_would_not_show_is_refused(app: Quart, piece: Pieces, value: object) -> None:
    async with app.test_request_context("/"):
        with pytest.raises(TypeError, match=r"piece\.html: value contains a \w+"):
            await piece("piece.html", value=value)
