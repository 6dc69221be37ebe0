"""A command that fails as nobody expected: one line with an error id for who typed it, a record for the operator."""

import asyncio
import json
import logging
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner, Result

from quartblog.auth import service
from quartblog.cli import main
from quartblog.errors.exceptions import DatabaseUnavailable
from tests.support.smtp import MailServer

Command = Callable[..., Result]

PASSWORD = "canary-4711-password"
EMAIL = "ada@canary.example"
CREATE = ("user", "create", "ada", "--email", EMAIL, "--password-stdin")


@pytest.fixture(autouse=True)
def logging_as_found() -> object:
    """Fail a test after which logging works in another way."""
    before = logging.getLogRecordFactory(), logging.root.level
    yield
    assert (logging.getLogRecordFactory(), logging.root.level) == before


@pytest.fixture
def quartblog(quartblog: Command, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, with a database that has its tables."""
    monkeypatch.setenv("QUARTBLOG_DATABASE__URL", database_url)
    return quartblog


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registration has a bug, and its exception tells everything."""

    async def register(_session: object, username: str, email: str, _hash: str) -> NoReturn:
        logging.getLogger("quartblog.auth").info("looking %s up at %s", username, email)
        # Breadcrumbs are shortened: from either end, here is the middle of the password.
        logging.getLogger("quartblog.auth").info("%s%s%s%s%s", "x " * 246, PASSWORD, " x" * 238, PASSWORD, " x" * 500)
        await asyncio.sleep(0)
        raise RuntimeError(f"100 % wrong: {email} with {PASSWORD}")

    monkeypatch.setattr(service, "register", register)


def log_file(folder: Path) -> str:
    return (folder / "logs" / "microblog.log").read_text("utf-8")


def error_id(result: Result) -> str:
    """The id in the one line that the command has printed."""
    assert (result.exit_code, result.stdout) == (1, "")
    line = re.fullmatch(r"Error: .* see error (\w{12}) in logs/microblog\.log\n", result.stderr)
    assert line, result.stderr
    return line[1]


@pytest.mark.usefixtures("broken")
def test_terminal_log_file_and_outbox_tell_the_same_id(quartblog: Command, folder: Path) -> None:
    result = quartblog(*CREATE, typed=PASSWORD)

    told = error_id(result)
    assert "Error: quartblog user create failed unexpectedly (RuntimeError): " in result.stderr
    [line] = [line for line in log_file(folder).splitlines() if " ERROR: " in line]
    assert line.endswith(f"[id {told}]")
    assert "Traceback (most recent call last):" in log_file(folder)
    [group] = json.loads(quartblog("errors", "list", "--json").stdout)
    assert (group["latest_error_id"], group["route"]) == (told, "quartblog user create")
    [sample] = json.loads(quartblog("errors", "show", told, "--json").stdout)["samples"]
    assert sample["breadcrumbs"][0].endswith(" INFO quartblog.auth: looking ada up at [redacted]")
    assert "RuntimeError: 100 % wrong: [redacted] with [redacted]" in sample["traceback"]


@pytest.mark.usefixtures("broken")
def test_what_was_typed_is_nowhere(quartblog: Command, folder: Path) -> None:
    outputs = quartblog(*CREATE, typed=PASSWORD).output + quartblog("errors", "show", "1").output

    left = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for canary in (PASSWORD, PASSWORD[:8], EMAIL):
        assert canary not in outputs
        assert canary.encode() not in left


@pytest.mark.usefixtures("broken")
def test_the_log_file_tells_of_the_failure_and_not_of_the_delivery(quartblog: Command, folder: Path) -> None:
    quartblog(*CREATE, typed=PASSWORD)

    assert re.findall(r"^\S+ \S+ ([A-Z]+): ", log_file(folder), re.MULTILINE) == ["ERROR"]


@pytest.mark.usefixtures("broken")
def test_a_command_that_fails_is_no_worker_and_asks_for_no_lead(quartblog: Command, folder: Path) -> None:
    with MailServer() as server:
        quartblog(*CREATE, typed=PASSWORD, MAIL_SERVER="127.0.0.1", MAIL_PORT=str(server.port), MAIL_ADMINS=EMAIL)

    assert json.loads(quartblog("delivery", "status", "--json").stdout)["workers"] == []
    assert not (folder / "instance" / "outbox.sqlite3.leader").exists()


def test_a_database_without_its_tables_is_recorded_under_the_commands_name(
    quartblog: Command, database_url: str
) -> None:
    with sqlite3.connect(database_url.partition("///")[2]) as database:
        database.execute("ALTER TABLE users RENAME TO gone")
    database.close()

    told = error_id(quartblog("user", "admin", "ada"))

    [group] = json.loads(quartblog("errors", "list", "--json").stdout)
    assert (group["latest_error_id"], group["route"]) == (told, "quartblog user admin")
    assert "no such table: users" in group["what"]


def test_what_is_expected_to_go_wrong_is_no_record(
    quartblog: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: object) -> NoReturn:
        raise DatabaseUnavailable("the database does not answer")

    nobody = quartblog("user", "admin", "nobody")
    misspelt = quartblog("user", "admin", "nobody", "--revoek")
    monkeypatch.setattr(service, "by_username", unavailable)
    down = quartblog("user", "admin", "nobody")

    assert (nobody.exit_code, misspelt.exit_code, down.exit_code) == (1, 2, 1)
    assert down.stderr == "Error: the database does not answer\n"
    assert not (folder / "logs").exists()
    assert not (folder / "instance").exists()


@pytest.mark.parametrize("end", [KeyboardInterrupt, EOFError, BrokenPipeError(32, "Broken pipe"), click.Abort])
def test_who_ends_a_command_leaves_no_record(
    quartblog: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException] | BaseException
) -> None:
    async def ended(*_: object) -> NoReturn:
        raise end

    monkeypatch.setattr(service, "by_username", ended)

    assert quartblog("user", "admin", "ada").exit_code == 1
    assert not (folder / "logs").exists()


@pytest.mark.usefixtures("broken")
def test_a_failure_that_cannot_be_recorded_is_shown(quartblog: Command, folder: Path) -> None:
    (folder / "logs").write_text("a file is in the way")

    result = CliRunner().invoke(main, CREATE, input=PASSWORD)

    assert isinstance(result.exception, RuntimeError)
    assert "100 % wrong" in str(result.exception)


@pytest.mark.parametrize("kept", [0, 3, 200])
def test_breadcrumbs_are_the_latest_and_as_many_as_the_settings_say(
    quartblog: Command, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    async def talk_and_fail(*_: object) -> NoReturn:
        for number in range(300):
            logging.getLogger("quartblog.auth").info("no. %s", number)
        raise RuntimeError

    monkeypatch.setattr(service, "by_username", talk_and_fail)

    told = error_id(quartblog("user", "admin", "ada", QUARTBLOG_DELIVERY__BREADCRUMBS=str(kept)))

    [sample] = json.loads(quartblog("errors", "show", told, "--json").stdout)["samples"]
    assert [crumb.rpartition(" ")[2] for crumb in sample["breadcrumbs"]] == [*map(str, range(300 - kept, 300))]
