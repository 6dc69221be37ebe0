"""How commands print times, numbers and long texts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from quartblog.cli.output import as_json, cells, clipped, count, span, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (45.2, "45 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3630, "1 h"),
        (93_784, "1 d 2 h"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_one_thing_is_not_many() -> None:
    assert (count(1, "mail"), count(0, "mail"), count(1204, "mail")) == ("1 mail", "0 mails", "1,204 mails")
    assert count(2, "try", "tries") == "2 tries"


def test_wide_characters_keep_the_columns_straight() -> None:
    assert table([("名字", "x"), ("name", "y")]) == "名字  x\nname  y"


def test_numbers_end_at_the_same_place() -> None:
    assert table([("a", "1"), ("b", "200")], right=frozenset({1})) == "a    1\nb  200"


def test_a_text_is_cut_between_two_cells() -> None:
    assert clipped("abcdef", 6) == "abcdef"
    assert clipped("abcdef", 5) == "abcd…"
    assert clipped("发生意外", 6) == "发生…"


@pytest.mark.parametrize(
    ("unseen", "escape"),
    [
        ("\x1b", r"\x1b"),
        ("\xad", r"\xad"),
        ("\u061c", r"\u061c"),
        ("\u200b", r"\u200b"),
        ("\u200f", r"\u200f"),
        ("\u202e", r"\u202e"),
        ("\u2800", r"\u2800"),
        ("\ufe0f", r"\ufe0f"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_nobody_sees_is_spelled_out_on_the_terminal(unseen: str, escape: str) -> None:
    text = f"ad{unseen}min"

    assert table([(text, "x"), ("name", "y")]) == f"ad{escape}min  x\nname{' ' * len(escape)}   y"
    assert clipped(text, 80) == f"ad{escape}min"
    assert cells(clipped(text, 5)) == 5
    assert as_json([text]).isascii()
    assert as_json([text]).count("\n") == 2
    assert json.loads(as_json([text])) == [text]


HOSTILE = "\x1b[2J\u202e\u200b"


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        (f'[site]\n"{HOSTILE.encode("unicode_escape").decode()}" = 1', ("config", "check")),
        (f'[mail]\nserver = "{HOSTILE.encode("unicode_escape").decode()}"', ("config", "check")),
        ("", ("user", "admin", HOSTILE)),
        ("", ("errors", "show", HOSTILE)),
        ("", ("--config", HOSTILE, "config", "check")),
    ],
)
def test_no_complaint_steers_the_terminal(
    quartblog: Callable[..., Result], folder: Path, content: str, arguments: tuple[str, ...]
) -> None:
    (folder / "config.toml").write_text(content.replace("\\x1b", "\\u001b"), "utf-8")

    result = quartblog(*arguments)

    assert result.exit_code != 0
    assert not set(HOSTILE[:1] + HOSTILE[-2:]) & set(result.output)
