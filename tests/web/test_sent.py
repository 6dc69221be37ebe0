"""Which of the values a request brought no record may show."""

from __future__ import annotations

from base64 import b64encode

import pytest
from quart.datastructures import FileStorage
from werkzeug.datastructures import MultiDict

from quartblog.delivery import scope
from quartblog.delivery.tools import sent_values
from quartblog.web.sent import hide_form, hide_json


def sent(query: str = "", **headers: str) -> set[str]:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return set(sent_values(query.encode(), pairs))


def encoded(credentials: str) -> str:
    return b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("page=1", {"page=1"}),
        ("q=1", set()),
        ("page=1&q=tea+time", {"page=1&q=tea+time", "tea+time", "tea time"}),
        ("p%61ss=ab%63", {"p%61ss=ab%63", "ab%63", "abc"}),
        ("reset_token=1", {"reset_token=1", "1"}),
        ("&".join(["a=1"] * 300), {"&".join(["a=1"] * 300)}),
        ("", set()),
    ],
)
def test_of_a_query_long_values_and_short_secrets_are_hidden(query: str, values: set[str]) -> None:
    assert sent(query) == values


def test_of_the_cookies_long_values_and_short_secrets_are_hidden() -> None:
    assert sent(cookie='theme=on; box=%6F; name="J%C3%BCrgen"; api_token=1') == {"J%C3%BCrgen", "Jürgen", "1"}


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("Bearer abc", {"abc"}),
        ("abc", {"abc"}),
        (f"Basic {encoded('ada:abc')}", {encoded("ada:abc"), "ada:abc", "abc"}),
        (f"Basic {encoded('lovelace:a')}", {encoded("lovelace:a"), "lovelace:a", "lovelace", "a"}),
        ("Basic a", {"a"}),
    ],
)
def test_credentials_are_hidden_however_short_they_are(header: str, values: set[str]) -> None:
    assert sent(authorization=header) == values


def test_of_a_form_long_values_and_short_secrets_are_hidden() -> None:
    with scope() as work:
        form = MultiDict([("remember_me", "y"), ("password", " ab"), ("body", " two\r\nlines"), ("body", "two")])
        hide_form(form, MultiDict([("photo", FileStorage(filename="holiday.jpg")), ("photo", FileStorage())]))

    assert work.hidden() == {" ab", "ab", " two\r\nlines", "two\r\nlines", "two\nlines", "holiday.jpg"}


def test_of_json_long_values_and_short_secrets_are_hidden() -> None:
    with scope() as work:
        hide_json({"on": True, "none": None, "pin": 4711, "deep": [[{"password": 7}, "a text"], 1.25], "n": 123456789})

    assert work.hidden() == {"4711", "7", "a text", "1.25", "123456789"}
