"""`quartblog mail test`, against a real SMTP server."""

from collections.abc import Callable
from email.message import EmailMessage

import pytest
from click.testing import Result

from quartblog.delivery import MailOptions, Receipt
from tests.support.smtp import MailServer, dead_server

Command = Callable[..., Result]


def test_one_mail_reaches_every_admin_and_the_servers_words_are_printed(quartblog: Command) -> None:
    with MailServer() as server:
        result = quartblog(
            "mail",
            "test",
            MAIL_SERVER="127.0.0.1",
            MAIL_PORT=str(server.port),
            MAIL_ADMINS="ada@example.org,grace@example.org",
            QUARTBLOG_SITE__NAME="我的微博",
        )

    (mail,) = server.mails
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"127.0.0.1:{server.port} took it for ada@example.org, grace@example.org: taken\n"
    assert mail.recipients == ("ada@example.org", "grace@example.org")
    assert mail.message["From"] == "ada@example.org"
    assert "我的微博" in mail.subject
    assert "quartblog mail test" in mail.text


def test_an_admin_the_server_refuses_is_told_though_the_others_get_the_mail(
    quartblog: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(_message: EmailMessage, _options: MailOptions) -> Receipt:
        return Receipt("taken", {"grace@example.org": "550 nobody of this name"})

    monkeypatch.setattr("quartblog.cli.mail.send", send)

    result = quartblog("mail", "test", MAIL_SERVER="127.0.0.1", MAIL_ADMINS="ada@example.org,grace@example.org")

    assert result.exit_code == 1
    assert result.stdout == "127.0.0.1:25 took it for ada@example.org: taken\n"
    assert result.stderr == "Error: the server refused grace@example.org: 550 nobody of this name\n"


def test_a_server_that_is_not_there_is_one_clear_line(quartblog: Command) -> None:
    with dead_server() as port:
        result = quartblog("mail", "test", MAIL_SERVER="127.0.0.1", MAIL_PORT=str(port), MAIL_ADMINS="ada@example.org")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: 127.0.0.1:{port} refused the connection")
    assert result.stderr.count("\n") == 1


def test_without_a_server_there_is_nothing_to_test(quartblog: Command) -> None:
    result = quartblog("mail", "test")

    assert result.exit_code == 1
    assert result.stderr == "Error: [mail] server: none is set, so there is nothing to test\n"
