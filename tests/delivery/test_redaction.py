"""Which parts of a text are hidden."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.delivery import scope
from quartblog.delivery.text.escaping import LONGEST, shortened
from quartblog.delivery.text.redaction import REDACTED, Redactor


def redacted(text: str, *values: str) -> str:
    """The text as a scope shows it that hides the values."""
    with scope() as work:
        work.hide(lambda: values)
        return Redactor(keep=["ops@example.org"]).for_scope(work)(text)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("an old error, told", f"an {REDACTED} error, told"),
        ("'old' password=old", f"'{REDACTED}' password={REDACTED}"),
        ("old", REDACTED),
        ("older bold _old old2", "older bold _old old2"),
        ("密码old错误", f"密码{REDACTED}错误"),
        ("they say e", f"they say {REDACTED}"),
        ("  every word stays", "  every word stays"),
    ],
)
def test_values_of_three_characters_and_less_are_hidden_where_they_stand_alone(written: str, shown: str) -> None:
    assert redacted(written, "old", "e", " ", "") == shown


@pytest.mark.parametrize("value", ["plain", "pässwört", "密码", 'say "yes"', 'it\'s "so"', "two\nlines", "back\\slash"])
def test_a_value_is_hidden_however_another_text_quotes_it(value: str) -> None:
    for quoted in (json.dumps([value]), repr([value]), repr(value.encode())):
        shown = redacted(f"the body was {quoted}", value)

        assert shown.count(REDACTED) == 1
        assert len(shown) <= len(f"the body was {[REDACTED]!r}")


def test_a_value_that_holds_another_is_hidden_as_a_whole() -> None:
    assert redacted("it was longer-value", "longer", "longer-value") == f"it was {REDACTED}"


def test_values_that_overlap_are_hidden_together() -> None:
    assert redacted("it was first-and-second", "first-and", "and-second") == f"it was {REDACTED}"


def test_a_short_value_that_stands_alone_only_behind_itself_is_hidden_there() -> None:
    assert redacted("it was 21 1 1", "1 1") == f"it was 21 {REDACTED}"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("to ada@example.com.", f"to {REDACTED}."),
        ("<ada@example.com>, <ops@example.org>", f"<{REDACTED}>, <ops@example.org>"),
        ("'ada@example.com'", f"'{REDACTED}'"),
        ("OPS@Example.ORG", "OPS@Example.ORG"),
        ("first.last+tag@mail.example.co.uk", REDACTED),
        ("名字@例子.公司", REDACTED),
        ("a@b and @decorator @ all", "a@b and @decorator @ all"),
        (f"{'x' * 300}@example.com", REDACTED),
    ],
)
def test_addresses_are_hidden_except_the_operators_own(written: str, shown: str) -> None:
    assert redacted(written) == shown


@pytest.mark.parametrize("text", ["a" * 60_000 + "@", "a@" * 30_000, "a@b." * 15_000, "@" * 60_000, "a.b@c.d" * 9_000])
def test_no_text_takes_long_to_look_through(text: str) -> None:
    hide = Redactor().for_scope(None)
    began = time.process_time()
    hide(text)

    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("value", ["a" * 30_000, "a" * 60_000 + "b", "ab" * 30_000, "a" * 4, "é" * 30_000 + "a"])
def test_no_cut_takes_long_to_look_at(value: str) -> None:
    with scope() as work:
        work.hide(lambda: [value])
        hide = Redactor().for_scope(work)
    texts = [shortened(text * 200_000, LONGEST) for text in ("a", "ab", "é", "- a")]
    began = time.process_time()
    for text in texts:
        hide(text)

    assert time.process_time() - began < 1.0


@settings(deadline=None)
@given(st.lists(st.text(min_size=4, max_size=30), min_size=1, max_size=5), st.text(max_size=20), st.text(max_size=20))
def test_no_value_is_left_in_any_text(values: list[str], before: str, after: str) -> None:
    with scope() as work:
        work.hide(lambda: values)
        hide = Redactor().for_scope(work)
    for value in values:
        shown = hide(f"{before}{value}{after}")

        assert value not in shown.replace(REDACTED, "\0")
