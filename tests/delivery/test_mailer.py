"""The thread that talks to the mail server: it may be slow there, and nowhere else."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import MailOptions, new_message
from quartblog.delivery.mailer import Mailer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage

    from .conftest import Peer


@pytest.fixture
def start() -> Iterator[Callable[[MailOptions], Mailer]]:
    """Start a mailer; it is stopped at the end."""
    started: list[Mailer] = []

    def begin(options: MailOptions) -> Mailer:
        mailer = Mailer(options)
        mailer.start()
        started.append(mailer)
        return mailer

    yield begin
    for mailer in started:
        mailer.stop(0)


def message(options: MailOptions, subject: str = "subject") -> EmailMessage:
    return new_message(options, subject, "text")


def test_posted_mails_arrive_in_their_order(
    accepting_server: Peer,
    mail_to: Callable[..., MailOptions],
    start: Callable[[MailOptions], Mailer],
) -> None:
    options = mail_to(accepting_server)
    mailer = start(options)
    for number in range(3):
        mailer.post(message(options, f"number {number}"))

    assert mailer.drain(10)
    assert [mail["Subject"] for mail in accepting_server.mails] == [
        "number 0",
        "number 1",
        "number 2",
    ]


@pytest.mark.parametrize(
    ("which", "why"),
    [
        ("server_that_says_later", "451 come back later"),
        ("server_that_says_never", "554 we do not want this"),
        ("server_that_hangs_up", "hung up"),
        ("silent_server", "did not finish within 0.3 s"),
    ],
)
def test_a_failed_mail_is_one_line_in_the_log_and_on_stderr(
    which: str,
    why: str,
    request: pytest.FixtureRequest,
    mail_to: Callable[..., MailOptions],
    start: Callable[[MailOptions], Mailer],
) -> None:
    caplog: pytest.LogCaptureFixture = request.getfixturevalue("caplog")
    capsys: pytest.CaptureFixture[str] = request.getfixturevalue("capsys")
    options = mail_to(request.getfixturevalue(which), timeout=0.3)
    mailer = start(options)
    mailer.post(message(options, "the subject"))
    assert mailer.drain(10)

    told = [one for one in caplog.records if one.name.startswith("quartblog.delivery")]
    assert len(told) == 1
    assert told[0].levelno == logging.WARNING
    assert "'the subject' was not sent" in told[0].getMessage()
    assert why in told[0].getMessage()
    assert capsys.readouterr().err.count(why) == 1
    assert mailer.alive


def test_a_refused_recipient_is_named_in_the_log(
    server_without_grace: Peer,
    mail_to: Callable[..., MailOptions],
    start: Callable[[MailOptions], Mailer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = mail_to(server_without_grace)
    mailer = start(options)
    mailer.post(message(options))
    assert mailer.drain(10)

    assert "was refused for grace@example.org: 550 nobody of this name" in caplog.text
    assert len(server_without_grace.mails) == 1


def test_a_message_that_cannot_be_sent_at_all_does_not_end_the_thread(
    accepting_server: Peer,
    mail_to: Callable[..., MailOptions],
    start: Callable[[MailOptions], Mailer],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = mail_to(accepting_server)
    mailer = start(options)

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    with monkeypatch.context() as patch:
        patch.setattr("quartblog.delivery.mailer.send", broken)
        mailer.post(message(options))
        assert mailer.drain(10)
    mailer.post(message(options))
    assert mailer.drain(10)

    assert "was not sent: ZeroDivisionError: a bug of ours" in caplog.text
    assert len(accepting_server.mails) == 1


def test_mails_beyond_the_bound_are_refused_with_one_line(
    slow_server: Peer,
    mail_to: Callable[..., MailOptions],
    start: Callable[[MailOptions], Mailer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = mail_to(slow_server, waiting=2)
    mailer = start(options)
    mailer.post(message(options))
    assert slow_server.connected.wait(5)
    for _ in range(10):
        mailer.post(message(options))

    assert caplog.text.count("2 mails wait for 127.0.0.1") == 1
    slow_server.release.set()
    assert mailer.drain(10)
    assert len(slow_server.mails) == 3


def test_stop_gives_up_on_a_slow_server_and_says_what_is_left(
    slow_server: Peer,
    mail_to: Callable[..., MailOptions],
    start: Callable[[MailOptions], Mailer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = mail_to(slow_server, timeout=60.0)
    mailer = start(options)
    for _ in range(3):
        mailer.post(message(options))
    assert slow_server.connected.wait(5)
    started = time.monotonic()

    assert mailer.stop(0.05)
    assert time.monotonic() - started < 5
    assert mailer.stop(0.05)
    assert not mailer.alive
    assert "3 mails were not sent before the stop" in caplog.text
    assert mailer.drain(0.05)
