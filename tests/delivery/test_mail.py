"""The report of one failure as a mail: what it holds, and what nobody can make it hold."""

from __future__ import annotations

import email
import email.policy
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.delivery.mail import BODY_LIMIT, MailSink, compose, new_message
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
    *("mime-version", "content-type", "content-transfer-encoding"),
}


def record(text: str = "it failed", **attributes: Any) -> logging.LogRecord:
    made = logging.LogRecord("app", logging.ERROR, "/srv/app.py", 12, text, None, None)
    made.__dict__.update(attributes)
    return made


def over_the_wire(message: EmailMessage) -> EmailMessage:
    """The message as a mail program reads it."""
    parsed = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert not parsed.defects
    return parsed


def test_a_report_holds_what_an_operator_needs(failure: BaseException) -> None:
    mail = over_the_wire(
        compose(
            record(
                error_id="0123456789ab",
                method="POST",
                route="/user/edit",
                user_id=7,
                exc_info=(ValueError, failure, failure.__traceback__),
            ),
            OPTIONS,
        )
    )
    text = mail.get_content()

    assert mail["Subject"] == "[微博] 博客异常 0123456789ab ValueError"
    assert mail["From"] == "微博 <blog@example.org>"
    assert mail["To"] == "ada@example.org, Grace <grace@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.tzinfo is not None
    assert mail["Message-ID"].endswith("@example.org>")
    for line in (
        "Level:    ERROR",
        "Logger:   app",
        "Place:    /srv/app.py:12",
        "Error id: 0123456789ab",
        "Method:   POST",
        "Route:    /user/edit",
        "User id:  7",
        "it failed",
    ):
        assert line in text.splitlines()
    assert text.startswith("Time:     2")
    assert logging.Formatter().formatException((ValueError, failure, failure.__traceback__)) in text


def test_a_display_name_is_quoted_where_it_must_be() -> None:
    options = MailOptions(
        server="localhost",
        sender="blog@example.org",
        admins=("Lovelace, Ada <ada@example.org>", '"Hopper, G." <grace@example.org>'),
    )
    [ada, grace] = over_the_wire(new_message(options, "subject", "text"))["To"].addresses

    assert (ada.display_name, ada.addr_spec) == ("Lovelace, Ada", "ada@example.org")
    assert (grace.display_name, grace.addr_spec) == ("Hopper, G.", "grace@example.org")


def test_a_report_without_request_and_exception_says_so() -> None:
    mail = over_the_wire(compose(record(), OPTIONS))

    assert mail["Subject"] == "[微博] 博客异常 - ERROR"
    assert "Route:    -" in mail.get_content()
    assert "Traceback" not in mail.get_content()


def test_every_report_has_a_message_id_of_its_own() -> None:
    assert len({compose(record(), OPTIONS)["Message-ID"] for _ in range(50)}) == 50


@settings(deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING, st.integers() | ANYTHING)
def test_nothing_a_stranger_types_adds_a_header(message: str, route: str, name: str, user_id: object) -> None:
    kind = type("Failure", (Exception,), {})
    kind.__qualname__ = name.replace("\0", "\n") if name.isprintable() else f"a{name}"
    error = kind(f"\r\nBcc: eve@example.org\r\n\r\n{message}")
    composed = compose(record(message, route=route, user_id=user_id, exc_info=(kind, error, None)), OPTIONS)
    mail = over_the_wire(composed)

    assert {header.lower() for header in mail} <= OWN_HEADERS
    assert len(mail) == len(set(mail))
    assert mail["To"] == "ada@example.org, Grace <grace@example.org>"
    assert "博客异常" in mail["Subject"]


@pytest.mark.parametrize("separator", ["\r\n", "\r", "\n", "\v", "\f", "\x1c", "\x85", "\u2028"])
def test_a_line_separator_in_the_subject_is_only_text(separator: str) -> None:
    mail = over_the_wire(new_message(OPTIONS, f"hello{separator}Bcc: eve@example.org", "text"))

    assert "Bcc" not in mail
    assert mail["Subject"].startswith("hello\\")


def test_what_cannot_be_encoded_is_escaped_in_the_body() -> None:
    mail = over_the_wire(new_message(OPTIONS, "subject", "a\ud800b\x1b[31m\x00\n\tc"))

    assert mail.get_content() == "a\\ud800b\\x1b[31m\\x00\n\tc\n"


def test_a_huge_report_is_shortened_and_says_where_the_rest_is_missing() -> None:
    error = ValueError("x" * 3_000_000)
    composed = compose(record("y" * 3_000_000, exc_info=(ValueError, error, None)), OPTIONS)

    assert len(composed.as_bytes()) < 4 * BODY_LIMIT
    assert over_the_wire(composed).get_content().count("characters left out") == 2


def test_a_huge_type_name_leaves_a_short_subject() -> None:
    kind = type("Failure" * 10_000, (Exception,), {})
    mail = over_the_wire(compose(record(exc_info=(kind, kind(), None)), OPTIONS))

    assert len(mail["Subject"]) < 300


def test_only_errors_of_the_application_become_mail() -> None:
    posted: list[EmailMessage] = []
    sink = MailSink(OPTIONS, posted.append)
    for name in ("quartblog.delivery", "quartblog.delivery.mailer"):
        sink.handle(record(name=name))
    sink.handle(record(threadName="quartblog-mailer"))
    assert posted == []

    sink.handle(record(name="quartblog.delivery_of_bread"))
    assert len(posted) == 1
    assert sink.level == logging.ERROR


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"server": ""}, "must be set"),
        ({"sender": ""}, "must be set"),
        ({"admins": ()}, "must be set"),
        ({"server": "mail\r\nserver"}, "no host name"),
        ({"server": "mail server"}, "no host name"),
        ({"admins": ("ada",)}, "no mail address"),
        ({"admins": ("a b>@example.org",)}, "no mail address"),
        ({"admins": ("ada@example.org, eve@example.org",)}, "no mail address"),
        ({"admins": ("Ada <ada@example.org> <eve@example.org>",)}, "no mail address"),
        ({"sender": "blog@example.org\r\nBcc: eve@example.org"}, "no mail address"),
        ({"server": "mail.example.org", "username": "ada"}, "in the clear"),
        ({"server": "10.0.0.1", "username": "ada"}, "in the clear"),
    ],
)
def test_options_that_cannot_send_say_why(changes: dict[str, Any], why: str) -> None:
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
