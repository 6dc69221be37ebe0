"""What commands print with --json: one value, for a result as for a failure."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from quartblog import migrations
from quartblog.delivery import Outbox, OutboxOptions
from quartblog.operations.keys import use_key
from tests.cli.test_main import every_command
from tests.support.failures import EVENT, Tried, a_digest, an_event
from tests.support.processes import ROOT
from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    Command = Callable[..., Result]

DATABASE = "sqlite+aiosqlite:///instance/quartblog.sqlite3"
CREATE = ("user", "create", "Ada", "--email", "Ada@Example.org", "--password-stdin")
PASSWORD = "canary-4711"


@pytest.fixture
def outbox(folder: Path) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(folder / "instance/outbox.sqlite3"))
    outbox.open()
    yield outbox
    outbox.close()


def result_of(quartblog: Command, *arguments: str, **more: Any) -> Any:
    """What the command prints, which must be all of its standard output."""
    result = quartblog(*arguments, "--json", **more)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


PATHS = set(every_command())
# `run` serves until it is stopped, so it has no result.
WITH_A_RESULT = sorted(PATHS - {path[:-1] for path in PATHS} - {("run",)})


@pytest.mark.parametrize("path", WITH_A_RESULT, ids=" ".join)
def test_every_command_with_a_result_takes_json_and_shows_how(quartblog: Command, path: tuple[str, ...]) -> None:
    text = quartblog(*path, "--help").stdout

    assert "--json" in text.partition("Options:")[2]
    assert " --json" in text.partition("Example:")[2].partition("Options:")[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("config", "check"),
        ("db", "upgrade"),
        ("db", "copy", "sqlite+aiosqlite:///none.db", "sqlite+aiosqlite:///b.db"),
        ("backup", "there"),
        ("user", "admin", "nobody"),
        ("user", "password", "nobody", "--password-stdin"),
        CREATE,
        ("mail", "test"),
        ("delivery", "status"),
        ("delivery", "outbox"),
        ("delivery", "retry"),
        ("delivery", "purge", "7"),
        ("delivery", "rehearse"),
        ("errors", "list"),
        ("errors", "show", "7"),
        ("errors", "resolve", "7"),
        ("errors", "mute", "7", "--for", "1h"),
        ("errors", "reopen", "7"),
        ("errors", "note", "7", "seen"),
        ("operations", "link"),
    ],
    ids=" ".join,
)
def test_a_failure_is_json_too_and_the_rest_is_as_without(
    quartblog: Command, folder: Path, arguments: tuple[str, ...]
) -> None:
    (folder / "config.toml").write_text('[mail]\nport = 0\ntls = "ssl"')

    as_text = quartblog(*arguments, typed="x\n")
    as_data = quartblog(*arguments, "--json", typed="x\n")

    assert (as_text.exit_code, as_text.stdout) == (1, "")
    assert (as_data.exit_code, as_data.stderr) == (1, as_text.stderr)
    problems = json.loads(as_data.stdout)["problems"]
    assert problems
    assert all(problem in as_text.stderr for problem in problems)


def test_each_problem_of_the_settings_is_one_in_json(quartblog: Command, folder: Path) -> None:
    (folder / "config.toml").write_text('[mail]\nport = 0\ntls = "ssl"')

    found = json.loads(quartblog("config", "check", "--json").stdout)

    assert [problem.partition(" = ")[0] for problem in found["problems"]] == [
        "config.toml: [mail] port",
        "config.toml: [mail] tls",
    ]


def test_a_wrong_command_line_prints_no_json(quartblog: Command, outbox: Outbox) -> None:
    for arguments in (("errors", "list", "--state", "lost"), ("delivery", "purge", "1", "--sent"), ("errors", "show")):
        result = quartblog(*arguments, "--json")
        assert (result.exit_code, result.stdout) == (2, ""), arguments


def test_a_failure_that_nobody_foresaw_is_json_with_its_error_id(
    quartblog: Command, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(*_arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Outbox, "page", page)

    result = quartblog("errors", "list", "--json")

    [problem] = json.loads(result.stdout)["problems"]
    assert result.exit_code == 1
    assert problem.startswith("quartblog errors list failed unexpectedly (RuntimeError): see error ")
    assert result.stderr == f"Error: {problem}\n"


@pytest.mark.parametrize(
    ("verb", "more", "after"),
    [("resolve", (), "resolved"), ("mute", ("--for", "2h"), "muted"), ("reopen", (), "open")],
)
def test_a_change_prints_the_groups_as_they_are_now_and_were(
    quartblog: Command, outbox: Outbox, verb: str, more: tuple[str, ...], after: str
) -> None:
    outbox.record([an_event(), an_event("f" * 16, error_id="k7c2mfq9wx3a")])

    done = result_of(quartblog, "errors", verb, "1", "K7C2MFQ9WX3A", *more)

    assert [(group["id"], group["was"], group["state"]) for group in done["groups"]] == [
        (1, "open", after),
        (2, "open", after),
    ]
    assert done["groups"][0]["fingerprint"] == EVENT.fingerprint
    assert done["unknown"] == []


def test_the_documented_facts_of_a_group_are_those_that_are_printed(quartblog: Command, outbox: Outbox) -> None:
    outbox.record([an_event()])
    document = (ROOT / "docs" / "operating.md").read_text("utf-8")
    facts = re.findall("`([a-z_]+)`", document.partition("A group has the facts ")[2].partition("For example")[0])

    [listed] = result_of(quartblog, "errors", "list")
    shown = result_of(quartblog, "errors", "show", "1")
    [changed] = result_of(quartblog, "errors", "reopen", "1")["groups"]

    assert list(listed) == [*facts, "last_24_hours", "mail"]
    assert list(shown) == [*facts, "samples", "hours", "ids", "history", "mails"]
    assert list(changed) == [*facts, "was"]


def test_a_note_prints_its_group(quartblog: Command, outbox: Outbox) -> None:
    outbox.record([an_event()])

    [group] = result_of(quartblog, "errors", "note", "1", "the disk")["groups"]

    assert (group["id"], group["was"], group["state"]) == (1, "open", "open")


def test_unknown_ids_stand_beside_what_was_changed(quartblog: Command, outbox: Outbox) -> None:
    outbox.record([an_event()])

    result = quartblog("errors", "resolve", "99", "1", "zz\x1b", "--json")

    done = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [group["id"] for group in done["groups"]] == [1]
    assert done["unknown"] == ["99", "zz\x1b"]
    assert done["problems"] == [r"no group has this number or error id: 99, zz\x1b"]
    assert "\x1b" not in result.output


def test_retry_and_purge_print_their_counts(quartblog: Command, outbox: Outbox) -> None:
    outbox.sending.dead(a_digest(outbox), Tried("550 no"))

    assert result_of(quartblog, "delivery", "retry") == {"due": 1, "worker_mails": False}
    assert result_of(quartblog, "delivery", "purge") == {"removed": 0}
    assert result_of(quartblog, "delivery", "purge", "1", "--yes") == {"removed": 1}


def test_a_test_mail_prints_who_got_it_and_who_did_not(quartblog: Command, outbox: Outbox) -> None:
    with MailServer(refusing={"grace@example.org": "550 nobody of this name"}) as server:
        variables = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(server.port)}
        done = result_of(quartblog, "mail", "test", **variables, MAIL_ADMINS="ada@example.org")
        half = quartblog("mail", "test", "--json", **variables, MAIL_ADMINS="ada@example.org,grace@example.org")

    accepted = [{"recipients": ["ada@example.org"], "answer": "taken"}]
    there = {"server": "127.0.0.1", "port": server.port, "accepted": accepted}
    assert done == {**there, "dead_mails": 0}
    assert half.exit_code == 1
    assert json.loads(half.stdout) == {
        **there,
        "dead_mails": 1,
        "problems": ["grace@example.org: 550 nobody of this name"],
    }


def test_accounts_are_printed_as_stored_and_without_a_password(quartblog: Command) -> None:
    quartblog("db", "upgrade")

    made = quartblog(*CREATE, "--json", typed=f"{PASSWORD}\n{PASSWORD}\n")
    asked = quartblog("user", "password", "ADA", "--json", typed=f"{PASSWORD}\n{PASSWORD}\n")

    assert json.loads(made.stdout) == {"name": "Ada", "email": "Ada@example.org", "admin": False}
    assert json.loads(asked.stdout) == {"name": "Ada"}
    assert PASSWORD not in made.output + asked.output
    assert result_of(quartblog, "user", "admin", "ada") == {"name": "Ada", "admin": True}
    assert result_of(quartblog, "user", "admin", "ada", "--revoke") == {"name": "Ada", "admin": False}


def test_an_upgrade_prints_both_revisions(quartblog: Command) -> None:
    assert result_of(quartblog, "db", "upgrade") == {"from": None, "to": migrations.head()}
    assert result_of(quartblog, "db", "upgrade") == {"from": migrations.head(), "to": migrations.head()}


def test_a_copy_prints_the_rows_of_each_table(quartblog: Command) -> None:
    quartblog("db", "upgrade")
    quartblog(*CREATE, typed="a long password\n")

    tables = result_of(quartblog, "db", "copy", DATABASE, "sqlite+aiosqlite:///b.db")["tables"]

    assert (tables[0]["table"], tables[0]["rows"]) == ("users", 1)
    assert all(len(found["checksum"]) == 64 for found in tables)
    with sqlite3.connect("b.db") as copied:
        assert copied.execute("SELECT count(*) FROM users").fetchone() == (1,)
    copied.close()


def test_a_link_prints_its_address_and_its_end(quartblog: Command, outbox: Outbox, folder: Path) -> None:
    begun = time.time()

    found = result_of(quartblog, "operations", "link", QUARTBLOG_SITE__PUBLIC_URL="https://blog.example.org")

    assert set(found) == {"address", "expires"}
    assert found["address"].startswith("https://blog.example.org/operations/enter?key=")
    [key] = parse_qs(urlsplit(found["address"]).query)["key"]
    expires = datetime.fromisoformat(found["expires"]).timestamp()
    assert 599 <= expires - begun <= 660
    assert not use_key(folder / "instance", key, expires + 1)
