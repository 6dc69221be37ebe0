"""What `config check` passes, the start builds."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.app import check_options, create_app
from quartblog.errors.exceptions import SettingsError
from quartblog.settings import load_settings, report
from quartblog.settings.sources import known_keys

ODD = [
    *(
        "",
        " ",
        "x",
        ".",
        "..",
        "~",
        "~/x",
        "a/b",
        "/",
        "auto",
        "true",
        "127.0.0.1",
        "::1",
        "[::1]",
        "localhost",
        "a.b:5",
    ),
    *("*.example.org", "smtp://x", "http://x", "HTTPS://X.example", "http://x:99999", "http://[", "//x", "/user"),
    *(
        "a@b",
        "a:b@example.org",
        '"a"@b.example',
        "a@[::1]",
        "a b@c.example",
        "<a@b.example>",
        "a@b\u200b",
        "a@b.example",
    ),
    *(
        "sqlite+aiosqlite:///x.db",
        "sqlite+aiosqlite://x/y.db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///x?timeout=z",
    ),
    *("sqlite+aiosqlite:///x?foo=1", "sqlite+aiosqlite:///~/x", "sqlite:///x", "mysql://x", "postgresql+asyncpg://x/y"),
    *("postgresql+asyncpg://x:99999/y", "postgresql+asyncpg:/x:y@z/w", "postgresql+asyncpg:///y?sslmode=require"),
    *("postgresql+asyncpg://x/y?prepared_statement_cache_size=z", "postgresql+asyncpg:///y?host=a:1&host=b"),
    *("starttls", "implicit", "none", "DEBUG", "ERROR", "json", "text", "zh", "en"),
    *("\u200b", "\u202e", "\x00", "\n", "é", "微博", "k" * 32, "k" * 5000),
]
ONE_IN = 8
"""One in so many values that pass the check also builds the app."""
STRINGS = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.sampled_from([0, 1, 5, 25, 1024, 65535, 65536, 2**63, 0.5, 0.999999, 1e300, -1, math.inf]) | st.integers()
ROUTES = st.lists(
    st.fixed_dictionaries(
        {"to": st.lists(STRINGS, max_size=2)}, optional={"level": STRINGS, "logger": STRINGS, "path": STRINGS}
    ),
    max_size=2,
)
VALUES = STRINGS | NUMBERS | st.booleans() | st.lists(STRINGS, max_size=2) | ROUTES
CONFIGURATIONS = st.dictionaries(st.sampled_from(known_keys()), VALUES, max_size=6)


def written(value: object) -> str:
    """The value in TOML."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {written(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(written, value)) + "]"
        case float():
            return str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def config(values: dict[tuple[str, str], object]) -> str:
    """The text of a config.toml."""
    sections = dict.fromkeys(section for section, _ in values)
    return "\n".join(
        f"[{section}]\n" + "\n".join(f"{key} = {written(v)}" for (place, key), v in values.items() if place == section)
        for section in sections
    )


def starts_where_it_passes(text: str, *, start: bool = True) -> bool:
    """Return whether `config check` passes. Raise the error of a start that fails all the same."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("config.toml").write_text(text, "utf-8")
        try:
            found = load_settings(None, {"HOME": folder})
            check_options(found)
        except SettingsError:
            return False
        if list(report.obstacles(found)):
            return False
        list(report.warnings(found))
        if start:
            create_app(found)
        return True


@settings(deadline=None, max_examples=60)
@given(CONFIGURATIONS)
def test_every_configuration_that_passes_the_check_starts(values: dict[tuple[str, str], object]) -> None:
    starts_where_it_passes(config(values))


@pytest.mark.parametrize(("section", "key"), known_keys())
def test_every_odd_value_of_a_key_is_refused_or_starts(section: str, key: str) -> None:
    with_server = {("mail", "server"): "localhost", ("mail", "admins"): ["a@b.example"]} if section == "mail" else {}
    offset = known_keys().index((section, key))
    for number, value in enumerate([*ODD, *([odd] for odd in ODD), 0, 1, 465, 2**63, 0.5, 1e300, math.inf, True]):
        # Building the whole app takes most of the time: each key builds it with other values.
        start = (number + offset) % ONE_IN == 0
        starts_where_it_passes(config({**with_server, (section, key): value}), start=start)


@pytest.mark.parametrize(
    "text",
    [
        '[delivery]\nroutes = [{ to = ["a:b@example.org"] }]',
        '[database]\nurl = "sqlite+aiosqlite:///x?timeout=never"',
        '[database]\nurl = "sqlite+aiosqlite://instance/x.db"',
        '[database]\nurl = "sqlite+aiosqlite:///x?wal=on"',
        '[database]\nurl = "postgresql+asyncpg://x/y?prepared_statement_cache_size=all"',
        '[database]\nurl = "postgresql+asyncpg://x/y?sslmode=require"',
    ],
)
def test_what_the_start_refuses_the_check_refuses(text: str) -> None:
    assert not starts_where_it_passes(text)
