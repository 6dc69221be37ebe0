"""`quartblog mail test`, against a real SMTP server."""

import asyncio
import email
import email.policy
import warnings
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

import pytest
from click.testing import Result

with warnings.catch_warnings():
    # aiosmtpd asks atpublic's old names for its exports; nothing of ours is imported here.
    warnings.simplefilter("ignore", DeprecationWarning)
    from aiosmtpd.controller import Controller

Command = Callable[..., Result]


class Server(Controller):
    """An SMTP server on a free port that keeps its mail, except for Grace's."""

    def __init__(self) -> None:
        super().__init__(self, hostname="127.0.0.1", port=0)
        self.mails: list[tuple[list[str], Message]] = []

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        if address.startswith("grace"):
            return "550 nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.rcpt_tos, message))
        return "250 kept as number one"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that runs."""
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def to_server(server: Server) -> dict[str, str]:
    """The variables that lead to it."""
    return {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(server.port), "QUARTBLOG_SITE__NAME": "我的微博"}


def test_one_mail_reaches_every_admin_and_the_servers_words_are_printed(
    quartblog: Command, server: Server, to_server: dict[str, str]
) -> None:
    result = quartblog("mail", "test", **to_server, MAIL_ADMINS="ada@example.org,linus@example.org")

    ((recipients, message),) = server.mails
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"127.0.0.1:{server.port} took it for ada@example.org, linus@example.org: kept as number one\n"
    )
    assert recipients == ["ada@example.org", "linus@example.org"]
    assert "我的微博" in message["Subject"]
    assert message["From"] == "ada@example.org"


def test_an_admin_the_server_refuses_is_told_though_the_others_get_the_mail(
    quartblog: Command, server: Server, to_server: dict[str, str]
) -> None:
    result = quartblog("mail", "test", **to_server, MAIL_ADMINS="ada@example.org,grace@example.org")

    assert len(server.mails) == 1
    assert result.exit_code == 1
    assert "took it for ada@example.org: kept" in result.stdout
    assert result.stderr == "Error: the server refused grace@example.org: 550 nobody of this name\n"


def test_a_server_that_is_not_there_is_one_clear_line(quartblog: Command) -> None:
    result = quartblog("mail", "test", MAIL_SERVER="127.0.0.1", MAIL_PORT="1", MAIL_ADMINS="ada@example.org")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: 127.0.0.1:1 refused the connection")
    assert result.stderr.count("\n") == 1


def test_without_a_server_there_is_nothing_to_test(quartblog: Command) -> None:
    result = quartblog("mail", "test")

    assert result.exit_code == 1
    assert result.stderr == "Error: [mail] server: none is set, so there is nothing to test\n"
