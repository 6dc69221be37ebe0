"""`quartblog delivery outbox|retry|purge`, on an outbox as workers leave it."""

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from click.testing import Result

from quartblog.delivery import Outbox, OutboxOptions
from tests.support.clocks import FakeClock
from tests.support.failures import Tried, a_digest, a_message

Command = Callable[..., Result]
DAY = 86_400


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def outbox(folder: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(folder / "instance/outbox.sqlite3"), clock=clock)
    yield outbox
    outbox.close()


@pytest.fixture
def aged(outbox: Outbox, clock: FakeClock) -> int:
    """A digest that was given up eight days ago."""
    number = a_digest(outbox)
    outbox.sending.dead(number, Tried("550 no"))
    clock.advance(8 * DAY)
    outbox.heartbeats.beat("host:1", leader=False, figures={})
    return number


@pytest.fixture
def waiting(outbox: Outbox) -> int:
    """A digest the server did not take, to be tried again in an hour."""
    number = a_digest(outbox, "what waits")
    outbox.sending.failed(number, Tried("mail.example.org:25 refused the connection", wait=3600))
    return number


@pytest.fixture
def dead(outbox: Outbox) -> int:
    """A digest that was given up."""
    number = a_digest(outbox, "what is dead")
    outbox.sending.dead(number, Tried("550 nobody of this name"))
    return number


@pytest.fixture
def sent(outbox: Outbox) -> int:
    """A digest that arrived."""
    number = a_digest(outbox, "what is sent")
    outbox.sending.sent(number, Tried("250 taken"))
    return number


def test_what_waits_and_what_was_given_up_is_listed_with_the_reason(
    quartblog: Command, waiting: int, dead: int, sent: int
) -> None:
    result = quartblog("delivery", "outbox")

    head, first, second = result.stdout.splitlines()
    assert result.exit_code == 0
    assert head.split() == ["id", "state", "kind", "since", "tries", "next", "try", "to", "subject", "why"]
    assert first.split()[:3] == [str(waiting), "waiting", "digest"]
    assert "in 1 h" in first or "in 59 min" in first
    assert first.endswith("ada@example.org  what waits    mail.example.org:25 refused the connection")
    assert second.split()[:3] == [str(dead), "dead", "digest"]
    assert second.endswith("550 nobody of this name")


@pytest.mark.parametrize("state", ["waiting", "dead", "sent"])
def test_one_state_alone_is_listed_on_request(
    quartblog: Command, waiting: int, dead: int, sent: int, state: str
) -> None:
    [mail] = json.loads(quartblog("delivery", "outbox", "--state", state, "--json").stdout)

    assert mail["state"] == state
    assert mail["id"] == {"waiting": waiting, "dead": dead, "sent": sent}[state]


def test_a_mail_as_json_has_what_a_script_needs(quartblog: Command, outbox: Outbox, clock: FakeClock) -> None:
    number = a_digest(outbox, "what waits")
    outbox.sending.failed(number, Tried("450 later", wait=60))

    [found] = json.loads(quartblog("delivery", "outbox", "--json").stdout)

    created, next_try = (dt.datetime.fromisoformat(found.pop(name)) for name in ("created", "next_try"))
    assert abs(created.timestamp() - clock.wall()) < 60
    assert next_try - created == dt.timedelta(seconds=60)
    assert found == {
        "id": number,
        "state": "waiting",
        "kind": "digest",
        "message_id": "<1@example.org>",
        "subject": "what waits",
        "recipients": ["ada@example.org"],
        "tries": 1,
        "finished": None,
        "why": "450 later",
    }


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_neither_readers_nor_subjects_of_product_mail_are_shown(
    quartblog: Command, outbox: Outbox, form: tuple[str, ...]
) -> None:
    number = outbox.post(a_message(subject="Grace, reset your password"), ["grace@example.org"])
    outbox.sending.failed(number, Tried("grace@example.org: 450 mailbox of Grace@Example.org is full", wait=0))

    shown = quartblog("delivery", "outbox", *form).stdout

    assert "g***@example.org: 450 mailbox of G***@Example.org is full" in shown
    assert "race@" not in shown
    assert "Grace" not in shown


def test_no_text_of_a_mail_is_ever_shown(quartblog: Command, waiting: int) -> None:
    assert "body" not in quartblog("delivery", "outbox", "--json").stdout


def test_an_empty_outbox_is_told(quartblog: Command, sent: int) -> None:
    assert quartblog("delivery", "outbox").stdout == "No mail is waiting or dead\n"
    assert quartblog("delivery", "outbox", "--state", "dead").stdout == "No mail is dead\n"
    assert quartblog("delivery", "outbox", "--json").stdout == "[]\n"


def test_a_list_of_mails_that_is_cut_short_says_so(quartblog: Command, waiting: int, dead: int) -> None:
    result = quartblog("delivery", "outbox", "--limit", "1")

    assert "what is dead" in result.stdout
    assert "what waits" not in result.stdout
    assert result.stderr == "1 of 2 shown; --limit N shows more\n"
    assert quartblog("delivery", "outbox", "--limit", "2").stderr == ""


def test_a_list_of_sent_mails_counts_sent_mails(quartblog: Command, waiting: int, outbox: Outbox) -> None:
    for _ in range(101):
        outbox.sending.sent(outbox.post(EmailMessage(), ["ada@example.org"]), Tried("250"))

    result = quartblog("delivery", "outbox", "--state", "sent")

    assert len(result.stdout.splitlines()) == 101
    assert result.stderr == "100 of 101 shown; --limit N shows more\n"
    assert len(json.loads(quartblog("delivery", "outbox", "--state", "sent", "--json").stdout)) == 101


def test_retry_makes_every_waiting_and_dead_mail_due(
    quartblog: Command, outbox: Outbox, waiting: int, dead: int, sent: int
) -> None:
    outbox.heartbeats.beat("host:1", leader=True, figures={})

    result = quartblog("delivery", "retry")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "2 mails are due now\n", "")
    assert {mail.id for mail in outbox.mails("waiting") if mail.next_try <= time.time()} == {waiting, dead}


def test_retry_of_one_mail_leaves_the_others_alone(quartblog: Command, outbox: Outbox, waiting: int, dead: int) -> None:
    assert quartblog("delivery", "retry", str(dead)).stdout == "1 mail is due now\n"

    assert [mail.id for mail in outbox.mails("waiting") if mail.next_try <= time.time()] == [dead]
    assert [mail.id for mail in outbox.mails("waiting") if mail.next_try > time.time()] == [waiting]


def test_retry_without_a_worker_tells_when_they_will_leave(quartblog: Command, waiting: int) -> None:
    warning = "No running worker sends mail: start `quartblog run` with a mail server\n"
    assert quartblog("delivery", "retry").stderr == warning


def test_retry_of_a_mail_that_is_sent_or_unknown_is_refused(quartblog: Command, sent: int) -> None:
    for number in (sent, 99):
        result = quartblog("delivery", "retry", str(number))
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"Error: no waiting or dead mail has the number {number}\n"


def test_nothing_to_retry_is_no_error(quartblog: Command, sent: int) -> None:
    result = quartblog("delivery", "retry")

    assert (result.exit_code, result.output) == (0, "0 mails are due now\n")


def test_purge_removes_sent_mails_and_nothing_else(
    quartblog: Command, outbox: Outbox, waiting: int, dead: int, sent: int
) -> None:
    result = quartblog("delivery", "purge")

    assert (result.exit_code, result.stdout) == (0, "1 sent mail was removed\n")
    assert {mail.id for mail in outbox.mails()} == {waiting, dead}


def test_dead_mails_are_not_removed_without_yes(quartblog: Command, outbox: Outbox, dead: int, sent: int) -> None:
    result = quartblog("delivery", "purge", "--dead", "--sent")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: this would remove 1 mail that nobody received: confirm with --yes, or see `quartblog delivery outbox`\n"
    )
    assert {mail.id for mail in outbox.mails()} == {dead, sent}


def test_dead_mails_go_with_yes_and_sent_ones_stay(quartblog: Command, outbox: Outbox, dead: int, sent: int) -> None:
    assert quartblog("delivery", "purge", "--dead", "--yes").stdout == "1 dead mail was removed\n"
    assert {mail.id for mail in outbox.mails()} == {sent}


def test_only_mails_that_ended_long_ago_are_removed_on_request(
    quartblog: Command, outbox: Outbox, aged: int, dead: int
) -> None:
    result = quartblog("delivery", "purge", "--dead", "--sent", "--older-than", "7", "--yes")

    assert result.stdout == "1 dead and sent mail was removed\n"
    assert [mail.id for mail in outbox.mails()] == [dead]


def test_yes_is_asked_for_no_more_dead_mails_than_are_old_enough(
    quartblog: Command, outbox: Outbox, aged: int, dead: int
) -> None:
    lost = "Error: this would remove {} that nobody received"
    assert quartblog("delivery", "purge", "--dead", "--older-than", "7").stderr.startswith(lost.format("1 mail"))
    assert quartblog("delivery", "purge", "--dead").stderr.startswith(lost.format("2 mails"))


def test_nothing_dead_needs_no_yes(quartblog: Command, dead: int) -> None:
    result = quartblog("delivery", "purge", "--dead", "--older-than", "1")

    assert (result.exit_code, result.stdout) == (0, "0 dead mails were removed\n")


def test_one_mail_goes_by_its_number(quartblog: Command, outbox: Outbox, waiting: int, dead: int, sent: int) -> None:
    assert quartblog("delivery", "purge", str(sent)).stdout == "1 mail was removed\n"
    assert {mail.id for mail in outbox.mails()} == {waiting, dead}
    for number in (waiting, dead):
        assert quartblog("delivery", "purge", str(number), "--yes").stdout == "1 mail was removed\n"
    assert outbox.mails() == []


def test_a_mail_that_nobody_received_is_not_removed_without_yes(
    quartblog: Command, outbox: Outbox, waiting: int, dead: int
) -> None:
    for number in (waiting, dead):
        result = quartblog("delivery", "purge", str(number))

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: this would remove 1 mail that nobody received: confirm with --yes")
    assert {mail.id for mail in outbox.mails()} == {waiting, dead}


def test_a_number_without_a_mail_removes_none(quartblog: Command, outbox: Outbox, dead: int) -> None:
    result = quartblog("delivery", "purge", "9000", "--yes")

    assert (result.exit_code, result.stderr) == (1, "Error: no mail has the number 9000\n")
    assert [mail.id for mail in outbox.mails()] == [dead]


@pytest.mark.parametrize("option", [("--dead",), ("--sent",), ("--older-than", "7")], ids=" ".join)
def test_a_number_and_a_kind_of_mails_exclude_each_other(
    quartblog: Command, outbox: Outbox, dead: int, option: tuple[str, ...]
) -> None:
    result = quartblog("delivery", "purge", str(dead), *option, "--yes")

    assert result.exit_code == 2
    assert "ID names one mail" in result.stderr
    assert [mail.id for mail in outbox.mails()] == [dead]


def test_an_outbox_that_cannot_be_looked_at_is_one_clear_line(quartblog: Command) -> None:
    result = quartblog("delivery", "outbox", QUARTBLOG_DELIVERY__OUTBOX="x" * 300)

    assert result.exit_code == 1
    assert result.stderr == f"Error: {'x' * 300}: cannot be accessed: File name too long\n"


@pytest.mark.parametrize("arguments", [("outbox",), ("retry",), ("purge",), ("status",)], ids=" ".join)
def test_without_an_outbox_every_command_says_how_it_comes_to_be(
    quartblog: Command, folder: Path, arguments: tuple[str, ...]
) -> None:
    result = quartblog("delivery", *arguments, QUARTBLOG_DELIVERY__OUTBOX="elsewhere/o.db")

    assert result.exit_code == 1
    assert result.stderr == (
        "Error: elsewhere/o.db: the outbox does not exist yet;"
        f" `quartblog run` creates it at the path in [delivery] outbox; there is no config.toml in {folder}\n"
    )
    assert list(folder.iterdir()) == []
