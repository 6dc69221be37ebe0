"""The report of one failure as a mail: what it holds, and what nobody can make it hold."""

from __future__ import annotations

import email
import email.policy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.delivery.mail.message import new_message, wire_form
from quartblog.delivery.options import MailOptions

if TYPE_CHECKING:
    from email.message import EmailMessage

OPTIONS = MailOptions(
    server="localhost",
    sender="微博 <blog@example.org>",
    admins=("ada@example.org", "Grace <grace@example.org>"),
    site="微博",
)
HOSTILE = st.sampled_from("\r\n\t\v\f\0\x1b\x1c\x7f\x85\x9b\u2028\u2029\u202e\ud800\udfff")
ANYTHING = st.text(st.characters() | HOSTILE, max_size=80)
OWN_HEADERS = {
    *("subject", "from", "to", "date", "message-id", "auto-submitted"),
    "x-auto-response-suppress",
    *("mime-version", "content-type", "content-transfer-encoding"),
}


def over_the_wire(message: EmailMessage) -> EmailMessage:
    """The message as a mail program reads it."""
    parsed = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert not parsed.defects
    return parsed


def test_every_message_has_a_message_id_of_its_own() -> None:
    assert len({new_message(OPTIONS, "subject", "text")["Message-ID"] for _ in range(50)}) == 50


def test_a_message_names_its_sender_and_readers_and_is_marked_as_automatic() -> None:
    mail = over_the_wire(new_message(OPTIONS, "subject", "text"))

    assert mail["From"] == "微博 <blog@example.org>"
    assert mail["To"] == "ada@example.org, Grace <grace@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.tzinfo is not None
    assert mail["Message-ID"].endswith("@example.org>")


@settings(deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING)
def test_nothing_a_stranger_types_adds_a_header(subject: str, text: str, html: str) -> None:
    mail = over_the_wire(new_message(OPTIONS, f"{subject}\r\nBcc: eve@example.org\r\n\r\n", text, html=html))

    assert {header.lower() for header in mail} <= OWN_HEADERS
    assert len(mail) == len(set(mail))
    assert mail["To"] == "ada@example.org, Grace <grace@example.org>"


@pytest.mark.parametrize("separator", ["\r\n", "\r", "\n", "\v", "\f", "\x1c", "\x85", "\u2028"])
def test_a_line_separator_in_the_subject_is_only_text(separator: str) -> None:
    mail = over_the_wire(new_message(OPTIONS, f"hello{separator}Bcc: eve@example.org", "text"))

    assert "Bcc" not in mail
    assert mail["Subject"].startswith("hello\\")


def test_what_cannot_be_encoded_is_escaped_in_the_body() -> None:
    mail = over_the_wire(new_message(OPTIONS, "subject", "a\ud800b\x1b[31m\x00\n\tc"))

    assert mail.get_content() == "a\\ud800b\\x1b[31m\\x00\n\tc\n"


@pytest.mark.parametrize("text", ["发生意外错误\nValueError: twelve\n", "ValueError: twelve\n" + "错" * 1_000])
def test_ascii_text_stays_readable_on_the_wire(text: str) -> None:
    data = wire_form(new_message(OPTIONS, "subject", text, html=f"<p>{text}</p>"))

    assert data.count(b"ValueError: twelve") == 2
    assert data.count(b"Content-Transfer-Encoding: quoted-printable") == 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 10_000_000, id="one long line"),
        pytest.param("错" * 300_000, id="Chinese"),
        pytest.param(" \ud800.\n" * 1_000, id="surrogates"),
        pytest.param(".\n" * 1_000, id="dots"),
        pytest.param("=\t " * 1_000, id="blanks"),
    ],
)
def test_no_text_makes_a_line_that_a_server_refuses(text: str) -> None:
    data = wire_form(new_message(OPTIONS, "subject", text))

    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 78
    content = email.message_from_bytes(data, policy=email.policy.default).get_content().replace("\r\n", "\n")
    assert content.rstrip("\n") == text.replace("\ud800", r"\ud800").rstrip("\n")


def test_a_huge_subject_is_shortened() -> None:
    assert len(over_the_wire(new_message(OPTIONS, "Failure" * 10_000, "text"))["Subject"]) < 300


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"server": ""}, "must be set"),
        ({"sender": ""}, "must be set"),
        ({"admins": ()}, "must be set"),
        ({"server": "mail\r\nserver"}, "not a host name"),
        ({"server": "mail server"}, "not a host name"),
        ({"admins": ("ada",)}, "not a mail address"),
        ({"admins": ("a b>@example.org",)}, "not a mail address"),
        ({"admins": ("ada@example.org, eve@example.org",)}, "not a mail address"),
        ({"admins": ("Ada <ada@example.org> <eve@example.org>",)}, "not a mail address"),
        ({"sender": "blog@example.org\r\nBcc: eve@example.org"}, "not a mail address"),
        ({"server": "mail.example.org", "username": "ada"}, "in the clear"),
        ({"server": "10.0.0.1", "username": "ada"}, "in the clear"),
    ],
)
def test_options_that_cannot_send_are_refused_with_the_reason(changes: dict[str, Any], why: str) -> None:
    values: dict[str, Any] = {"server": "localhost", "sender": "a@b.org", "admins": ("c@d.org",)}

    assert why in (MailOptions(**(values | changes)).problem or "")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"username": "ada"},
        {"username": "ada", "server": "127.0.0.2"},
        {"username": "ada", "server": "::1"},
        {"username": "ada", "server": "mail.example.org", "tls": "starttls"},
        {"username": "ada", "server": "mail.example.org", "tls": "implicit"},
    ],
)
def test_options_that_can_send_have_no_problem(changes: dict[str, Any]) -> None:
    values: dict[str, Any] = {"server": "LocalHost.", "sender": "a@b.org", "admins": ("c@d.org",)}

    assert MailOptions(**(values | changes)).problem is None


def test_the_password_is_not_in_the_representation() -> None:
    options = MailOptions(server="x", sender="a@b.org", admins=("c@d.org",), password="lovelace")

    assert "lovelace" not in repr(options)
