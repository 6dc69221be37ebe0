"""Which names people may have, and which of them are the same."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartblog.auth.usernames import MAX_LENGTH, display_form, username_key
from quartblog.errors.exceptions import InvalidUsername
from tests.support.browsing import PASSWORD, Visitor

# Letters of several scripts, their combinations, and everything a disguise is made of.
SUSPECTS = "aAäÄİıßſＡａ李清照ёЁаρΣς0９²._-/\\@ \t\u200b\u200d\u202e\u0301\u3000\ufeff\x00"


@pytest.mark.parametrize(
    ("spelling", "other"),
    [("ada", "ADA"), ("ada", "Ａｄａ"), ("straße", "STRAßE"), ("É", "e\u0301"), ("李清照", "李清照"), ("i", "I")],
)
def test_spellings_of_one_name_share_a_key(spelling: str, other: str) -> None:
    assert username_key(spelling) == username_key(other)


@pytest.mark.parametrize("name", ["ada", "Ada_9", "a.b-c", "李清照", "李Ada", "9lives", "Ёлка", "ζωή", "山田たろう"])
def test_an_ordinary_name_is_allowed_and_shown_as_typed(name: str) -> None:
    assert display_form(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "-a",
        "_a",
        "a/b",
        "a\\b",
        "a b",
        "a@b",
        "a%b",
        "a\u200bb",
        "a\u200db",
        "\ufeffa",
        "a\u202eb",
        "\u0301a",
        "a\x00b",
        "a\nb",
        "аdmin",
        "аda\u0301",
        "αda",
        "x" * 65,
        "İ" * 40,
    ],
)
def test_a_name_that_deceives_or_breaks_addresses_is_refused(name: str) -> None:
    with pytest.raises(InvalidUsername):
        username_key(name)


@given(st.text(max_size=80) | st.text(alphabet=SUSPECTS, max_size=80))
def test_an_allowed_name_is_found_again_by_the_name_shown(name: str) -> None:
    try:
        key = username_key(name)
    except InvalidUsername:
        return

    shown = display_form(name)
    assert username_key(shown) == key
    assert display_form(shown) == shown
    assert 0 < len(shown) <= MAX_LENGTH
    assert 0 < len(key) <= MAX_LENGTH
    assert not set(shown) & set("/\\?#% \t\n\r")


@pytest.mark.parametrize("name", ["..", "a/b", "a\u200bda", "\u202eada", "аda"])
async def test_a_hostile_name_is_explained_at_registration(visitor: Visitor, name: str) -> None:
    page = await visitor.submit(
        "/register", username=name, email="lin@example.com", password=PASSWORD, password2=PASSWORD
    )

    assert page.status == 200
    assert page.errors_beside("username").startswith("请使用字母、数字、汉字")
    assert page.value_of("username") == name
    assert (await visitor.get(f"/user/info/{quote(name, safe='')}")).status == 404
