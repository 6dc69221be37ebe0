"""`quartblog delivery summary`: the weekly mail on the screen, as JSON, and sent by hand."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from quartblog.delivery import Outbox, OutboxOptions
from tests.support.failures import an_event
from tests.support.smtp import MailServer

Command = Callable[..., Result]
MAIL = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": "9", "MAIL_ADMINS": "ada@example.org"}


@pytest.fixture
def outbox(folder: Path) -> Iterator[Outbox]:
    """The outbox of a site that has failed three times today."""
    outbox = Outbox(OutboxOptions(folder / "instance/outbox.sqlite3"))
    outbox.open()
    outbox.record([an_event(created=time.time(), title="\x1b[31mred")] * 3)
    yield outbox
    outbox.close()


@pytest.mark.usefixtures("outbox")
def test_it_prints_the_mail_of_now_and_sends_nothing(quartblog: Command) -> None:
    with MailServer() as server:
        result = quartblog(
            "delivery", "summary", QUARTBLOG_SITE__PUBLIC_URL="https://blog.example.org", **MAIL | port(server)
        )
        assert server.mails == []

    assert (result.exit_code, result.stderr) == (0, "")
    assert re.match(
        r"Subject: Weekly summary: 3 errors, 1 new kind \(博客异常 微博 on .+\)\nTo: ada@example.org\n\n", result.stdout
    )
    assert "3 errors (0 in the week before): " in result.stdout
    assert "https://blog.example.org/operations/errors/1\n" in result.stdout
    assert "\x1b" not in result.stdout


def test_it_is_sent_by_hand_beside_the_weekly_one(quartblog: Command, outbox: Outbox) -> None:
    with MailServer() as server:
        result = quartblog("delivery", "summary", "--send", **MAIL | port(server))
        again = quartblog("delivery", "summary", "--send", **MAIL | port(server))

    assert (result.exit_code, result.stderr, again.exit_code) == (0, "", 0)
    assert result.stdout == f"127.0.0.1:{server.port} accepted the mail for ada@example.org: taken\n"
    assert [mail.subject.startswith("Weekly summary: 3 errors") for mail in server.mails] == [True, False, True]
    assert "List-Id" in server.mails[0].message
    outbox.close()
    listed = json.loads(quartblog("delivery", "outbox", "--state", "sent", "--json", **MAIL).stdout)
    assert [mail["kind"] for mail in listed] == ["test", "digest", "test"]


def test_a_server_that_refuses_it_is_quoted(quartblog: Command, outbox: Outbox) -> None:
    with MailServer("554 we do not want this") as server:
        result = quartblog("delivery", "summary", "--send", **MAIL | port(server))

    assert result.exit_code == 1
    assert "554 we do not want this" in result.stderr
    assert outbox.totals().dead >= 1


@pytest.mark.usefixtures("outbox")
def test_its_figures_are_printed_as_json_without_a_mail_server(quartblog: Command) -> None:
    result = quartblog("delivery", "summary", "--json")

    found = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (found["errors"], found["errors_before"], found["new"], found["open"]) == (3, 0, 1, 1)
    assert [(one["id"], one["state"], one["errors"]) for one in found["frequent"]] == [(1, "open", 3)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:00:00.000\+00:00", found["begin"])


@pytest.mark.usefixtures("outbox")
def test_without_a_mail_server_there_is_no_mail_to_show(quartblog: Command) -> None:
    result = quartblog("delivery", "summary")

    assert result.exit_code == 1
    assert "[mail] server: not set, so there is no weekly mail" in result.stderr


def test_before_the_first_start_there_is_nothing_to_sum_up(quartblog: Command) -> None:
    result = quartblog("delivery", "summary", **MAIL)

    assert result.exit_code == 1
    assert "the outbox does not exist yet" in result.stderr


@pytest.mark.usefixtures("outbox")
def test_the_answer_of_the_server_is_printed_as_json_too(quartblog: Command) -> None:
    with MailServer() as server:
        result = quartblog("delivery", "summary", "--send", "--json", **MAIL | port(server))

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["accepted"] == [{"recipients": ["ada@example.org"], "answer": "taken"}]


def test_a_time_without_a_mail_server_is_pointed_out(quartblog: Command) -> None:
    result = quartblog("config", "check", QUARTBLOG_OPERATIONS__SUMMARY="Monday 8:00")

    assert result.exit_code == 0
    assert re.search(r'\[operations\] summary +"monday 08:00"', result.stdout)
    assert "Warning: [operations] summary: unused, because [mail] server is not set" in result.stderr


def port(server: MailServer) -> dict[str, str]:
    return {"MAIL_PORT": str(server.port)}
