"""Avatars: drawn here, the same every time, legible, and harmless whatever the name."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartblog.profile.avatar import INK, avatar, contrast, initial, shade


def test_a_name_always_has_the_same_drawing_of_its_own() -> None:
    first = avatar("ada")
    avatar.cache_clear()

    assert avatar("ada") == first
    assert len({re.sub(r">.</text>", "", avatar(f"ada{number}")) for number in range(20)}) > 15


def test_the_drawing_is_fixed_across_releases() -> None:
    # A person is recognised by it, so a change here should be meant.
    assert set(re.findall(r'fill="(#\w+)"', avatar("ada"))) == {"#c24797", "#c4514f", INK}


def test_the_size_is_in_pixels() -> None:
    drawing = ET.fromstring(avatar("ada", 96))

    assert (drawing.get("width"), drawing.get("height")) == ("96", "96")
    assert ET.fromstring(avatar("ada")).get("width") == "48"


def test_it_is_hidden_from_screen_readers_because_the_name_stands_beside_it() -> None:
    assert ET.fromstring(avatar("ada")).get("aria-hidden") == "true"


@pytest.mark.parametrize(
    ("username", "letter"),
    [
        ("ada", "A"),
        ("李清照", "李"),
        ("_bob", "B"),
        ("ζωή", "Ζ"),
        ("9lives", "9"),
        ("ßeta", "ß"),
        ("---", "?"),
        ("", "?"),
    ],
)
def test_the_initial_is_the_first_letter_or_digit(username: str, letter: str) -> None:
    assert initial(username) == letter
    assert f">{letter}</text>" in avatar(username)


def test_the_initial_is_legible_on_every_ground() -> None:
    assert min(contrast(INK, shade(hue)) for hue in range(360)) >= 4.5


def test_contrast_is_what_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


@given(st.text() | st.text(alphabet="<>&\"'/ \x00\ud800\u202eaA"))
def test_a_hostile_name_stays_a_drawing(username: str) -> None:
    drawing = ET.fromstring(avatar(username))

    assert [element.tag for element in drawing.iter()] == ["svg", "rect", "circle", "text"]
    assert not {"style", "onload", "href"} & {name for element in drawing.iter() for name in element.attrib}
