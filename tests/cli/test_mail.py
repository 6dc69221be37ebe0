"""`quartblog mail test`, against real SMTP servers and real outboxes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from quartblog.delivery import Delivery, FileOptions, MailOptions, Outbox, OutboxOptions
from tests.support.failures import Tried, a_digest, a_message, an_event
from tests.support.processes import eventually
from tests.support.smtp import MailServer, dead_server

Command = Callable[..., Result]


@pytest.fixture
def outbox(folder: Path) -> Iterator[Outbox]:
    """The outbox of a site that has run."""
    outbox = Outbox(OutboxOptions(folder / "instance/outbox.sqlite3"))
    outbox.open()
    yield outbox
    outbox.close()


def variables(port: int, admins: str = "ada@example.org") -> dict[str, str]:
    return {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(port), "MAIL_ADMINS": admins}


def test_one_mail_reaches_every_admin_and_the_servers_words_are_printed(quartblog: Command, folder: Path) -> None:
    with MailServer() as server:
        result = quartblog(
            "mail",
            "test",
            **variables(server.port, "ada@example.org,grace@example.org"),
            QUARTBLOG_SITE__NAME="我的微博",
        )

    (mail,) = server.mails
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"127.0.0.1:{server.port} accepted the mail for ada@example.org, grace@example.org: taken\n"
    assert mail.recipients == ("ada@example.org", "grace@example.org")
    assert mail.message["From"] == "ada@example.org"
    assert mail.subject == "A test mail (博客异常 我的微博)"
    assert mail.message["List-Id"].startswith("我的微博 <errors.")
    assert "quartblog mail test" in mail.text
    assert list(folder.iterdir()) == [], "before the first start nothing is left behind"


def test_where_no_server_runs_the_command_sends_from_the_outbox_itself(quartblog: Command, outbox: Outbox) -> None:
    outbox.record([an_event()])
    earlier = a_digest(outbox, "what was waiting")

    with MailServer() as server:
        result = quartblog("mail", "test", **variables(server.port))

    assert (result.exit_code, result.stderr) == (0, "")
    assert len(server.mails) == 2
    assert {mail.id: mail.state for mail in outbox.mails()} == {earlier: "sent", earlier + 1: "sent"}


def test_whoever_mended_the_reason_is_told_of_mails_that_are_dead(quartblog: Command, outbox: Outbox) -> None:
    outbox.sending.dead(a_digest(outbox, "refused for good"), Tried("550 nobody of this name"))

    with MailServer() as server:
        result = quartblog("mail", "test", **variables(server.port))

    assert (result.exit_code, result.stderr) == (0, "1 mail is dead: `quartblog delivery retry` retries it\n")
    assert len(server.mails) == 1


def test_where_a_worker_mails_the_command_waits_for_it(quartblog: Command, folder: Path, outbox: Outbox) -> None:
    with MailServer() as server:
        options = MailOptions("127.0.0.1", "worker@example.org", ("ada@example.org",), port=server.port)
        file, place = FileOptions(path=folder / "worker.log"), OutboxOptions(folder / "instance/outbox.sqlite3")
        with Delivery(file=file, mail=options, outbox=place):
            eventually(lambda: outbox.leader() is not None)
            result = quartblog("mail", "test", **variables(server.port))

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"127.0.0.1:{server.port} accepted the mail for ada@example.org: taken\n"
    assert [mail.sender for mail in server.mails] == ["worker@example.org"]


def test_a_worker_that_does_not_come_to_it_is_told(quartblog: Command, outbox: Outbox) -> None:
    assert outbox.sending.lead("host:1")

    result = quartblog("mail", "test", **variables(25), QUARTBLOG_MAIL__TIMEOUT="0.1")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: the leader, the worker that sends this host's mail, did not attempt it in time;"
        " the outbox keeps it for another attempt\n"
    )


def test_an_admin_the_server_refuses_is_told_though_the_others_get_the_mail(quartblog: Command) -> None:
    with MailServer(refusing={"grace@example.org": "550 nobody of this name"}) as server:
        result = quartblog("mail", "test", **variables(server.port, "ada@example.org,grace@example.org"))

    assert result.exit_code == 1
    assert result.stdout.startswith(f"127.0.0.1:{server.port} accepted the mail for ada@example.org")
    assert "grace" not in result.stdout
    assert result.stderr == "Error: grace@example.org: 550 nobody of this name\n"


def test_an_admin_who_is_to_wait_is_told(quartblog: Command, outbox: Outbox) -> None:
    with MailServer(refusing={"grace@example.org": "452 mailbox full"}) as server:
        result = quartblog("mail", "test", **variables(server.port, "ada@example.org,grace@example.org"))

    assert result.exit_code == 1
    assert result.stderr == "Error: grace@example.org: 452 mailbox full; the outbox keeps it for another attempt\n"


def test_a_server_that_is_not_there_is_one_clear_line(quartblog: Command) -> None:
    with dead_server() as port:
        result = quartblog("mail", "test", **variables(port))

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: 127.0.0.1:{port} refused the connection")
    assert result.stderr.count("\n") == 1
    assert "outbox" not in result.stderr


def test_a_test_that_failed_stays_in_the_outbox(quartblog: Command, outbox: Outbox) -> None:
    with dead_server() as port:
        result = quartblog("mail", "test", **variables(port))

    assert result.exit_code == 1
    assert result.stderr.endswith("; the outbox keeps it for another attempt\n")
    [mail] = outbox.mails("waiting")
    assert mail.tries == 1


def test_a_test_is_listed_as_one_and_not_as_mail_to_a_visitor(quartblog: Command, outbox: Outbox) -> None:
    with dead_server() as port:
        quartblog("mail", "test", **variables(port))

    [mail] = json.loads(quartblog("delivery", "outbox", "--json").stdout)

    assert (mail["kind"], mail["recipients"]) == ("test", ["ada@example.org"])
    assert "A test mail" in mail["subject"]
    assert " test " in quartblog("delivery", "outbox").stdout


def test_a_test_behind_a_mail_that_failed_tells_that_failure(quartblog: Command, outbox: Outbox) -> None:
    outbox.post(a_message(subject="what was waiting"), ["ada@example.org"])

    with dead_server() as port:
        result = quartblog("mail", "test", **variables(port))

    assert result.exit_code == 1
    assert f"because another mail failed: 127.0.0.1:{port} refused the connection" in result.stderr


def test_an_outbox_that_cannot_be_used_is_told_and_gone_without(quartblog: Command, folder: Path) -> None:
    (folder / "instance/outbox.sqlite3").mkdir(parents=True)

    with MailServer() as server:
        result = quartblog("mail", "test", **variables(server.port))

    assert result.exit_code == 0
    assert len(server.mails) == 1
    assert result.stderr == "Warning: instance/outbox.sqlite3 cannot be used, so the mail went without it\n"


def test_without_a_server_there_is_nothing_to_test(quartblog: Command, folder: Path) -> None:
    elsewhere = quartblog("mail", "test")
    (folder / "config.toml").touch()
    here = quartblog("mail", "test")

    said = "Error: [mail] server: not set, so there is nothing to test"
    assert (here.exit_code, here.stderr) == (1, f"{said}\n")
    assert (elsewhere.exit_code, elsewhere.stderr) == (1, f"{said}; there is no config.toml in {folder}\n")
