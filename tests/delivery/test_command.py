"""The command of the folder, on an outbox with one group of two errors."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Delivery, FileOptions, OutboxOptions, open_outbox, scope
from quartblog.delivery.__main__ import main
from quartblog.delivery.store.mails import Result as Tried
from tests.support.failures import an_event

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.capture import CaptureFixture


logger = logging.getLogger("tests.delivery.command")

PROGRAM = "python -m quartblog.delivery"


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    path = tmp_path / "outbox.sqlite3"
    with Delivery(file=FileOptions(path=tmp_path / "site.log"), outbox=OutboxOptions(path=path)):
        for number in (1, 2):
            with scope(route="job shrink"):
                logger.error("picture %d is\x1b[2J gone", number)
    return path


class Shell:
    """Runs the command on one outbox; returns its exit code and what it wrote to stdout and to stderr."""

    def __init__(self, outbox: Path, capsys: CaptureFixture[str]) -> None:
        self._outbox = outbox
        self._capsys = capsys

    def __call__(self, line: str, *, outbox: Path | None = None) -> tuple[int, str, str]:
        try:
            code = main(["--outbox", str(outbox or self._outbox), *line.split()])
        except SystemExit as error:
            code = int(str(error.code))
        return code, *self._capsys.readouterr()


@pytest.fixture
def shell(outbox: Path, capsys: CaptureFixture[str]) -> Shell:
    return Shell(outbox, capsys)


def test_groups_are_listed_until_they_are_resolved(shell: Shell) -> None:
    code, listed, _ = shell("errors list")

    assert code == 0
    assert listed.startswith("1: ERROR: picture 2 is\\x1b[2J gone (2 times, last ")
    assert shell("errors resolve 1") == (0, "1 is resolved: ERROR: picture 2 is\\x1b[2J gone\n", "")
    assert shell("errors list") == (0, "No group is open\n", "")
    assert "(resolved, 2 times, last " in shell("errors list --all")[1]


def test_a_muted_group_is_marked_until_it_is_reopened(shell: Shell) -> None:
    assert shell("errors mute 1 --for 90min") == (0, "1 is muted: ERROR: picture 2 is\\x1b[2J gone\n", "")
    assert "(muted, 2 times, last " in shell("errors list")[1]
    assert shell("errors reopen 1") == (0, "1 is open again: ERROR: picture 2 is\\x1b[2J gone\n", "")
    assert "(2 times, last " in shell("errors list")[1]


def test_a_group_is_shown_with_the_error_that_was_asked_for(shell: Shell) -> None:
    latest, first = shell("errors show 1")[1].splitlines()[-1].removeprefix("Samples: ").split()

    for key, message in ((latest, "picture 2 is\\x1b[2J gone"), (first.upper(), "picture 1 is\\x1b[2J gone")):
        code, shown, _ = shell(f"errors show {key}")
        assert code == 0
        assert message in shown
        assert "job shrink" in shown
        assert "\x1b" not in shown


def test_an_error_whose_text_is_not_kept_is_named_beside_the_latest_one(shell: Shell, outbox: Path) -> None:
    with closing(open_outbox(outbox)) as opened:
        opened.record([an_event(error_id=f"quoted{number:06}") for number in range(11)])

    assert "The text of error quoted000000 is no longer kept" in shell("errors show QUOTED000000")[1]
    assert "no longer kept" not in shell("errors show quoted000001")[1]


def test_a_list_says_how_many_it_leaves_out(shell: Shell, outbox: Path) -> None:
    with closing(open_outbox(outbox)) as store:
        store.record([an_event(f"{number:016x}") for number in range(1_233)])
        for _ in range(101):
            store.post(EmailMessage(), ["ada@example.org"])

    for line, shown, rest in (
        ("errors list", 100, "100 of 1,234 shown; --limit N shows more\n"),
        ("errors list --limit 7", 7, "7 of 1,234 shown; --limit N shows more\n"),
        ("errors list --limit 5000", 1_234, ""),
        ("outbox", 100, "100 of 101 shown; --limit N shows more\n"),
        ("outbox --limit 101", 101, ""),
    ):
        code, printed, noted = shell(line)
        assert (code, len(printed.splitlines()), noted) == (0, shown, rest)


def test_the_latest_mails_are_listed_without_what_a_server_said_about_a_recipient(shell: Shell, outbox: Path) -> None:
    with closing(open_outbox(outbox)) as store:
        first, last = (store.post(EmailMessage(), ["ada@example.org"]) for _ in range(2))
        store.sending.dead(last, Tried("550 nobody is ada@example.org"))

    code, printed, _ = shell("outbox --limit 1")

    assert (code, printed.count("\n")) == (0, 1)
    assert printed.startswith(f"{last}: dead, post, made ")
    assert "ada" not in printed
    assert f"{first}: waiting, post, made " in shell("outbox")[1]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("errors show 4711", "4711: no group has this number, and no error this id; the log file may have it"),
        ("errors resolve 4711 1 zzz", "no group has this number or error id: 4711, zzz"),
    ],
)
def test_a_missing_group_is_named_and_exits_with_1(shell: Shell, line: str, problem: str) -> None:
    code, _, complained = shell(line)

    assert (code, complained) == (1, f"{PROGRAM}: {problem}\n")


@pytest.mark.parametrize("name", ["missing.sqlite3", "a folder", "notes.txt"])
def test_a_file_that_is_no_outbox_stays_as_it_is(shell: Shell, tmp_path: Path, name: str) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "notes.txt").write_text("a list of things to buy")
    before = sorted(tmp_path.rglob("*"))

    code, printed, complained = shell("errors list", outbox=tmp_path / name)

    assert (code, printed) == (1, "")
    assert complained.startswith(f"{PROGRAM}: {tmp_path / name}: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_outbox_that_fails_meanwhile_is_not_shown_as_empty(shell: Shell, outbox: Path) -> None:
    with closing(sqlite3.connect(outbox)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE UPDATE ON groups BEGIN SELECT RAISE(ABORT, 'disk full'); END")

    code, printed, complained = shell("errors resolve 1")

    assert (code, printed) == (1, "")
    assert complained.splitlines()[-1] == f"{PROGRAM}: {outbox}: the outbox cannot be used: see above"
    assert "disk full" in complained


@pytest.mark.parametrize("line", ["errors list", "errors show 1"])
def test_a_stdout_that_takes_nothing_is_named(outbox: Path, line: str) -> None:
    command = f"{sys.executable} -m quartblog.delivery --outbox {outbox} {line} >/dev/full"

    ended = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{PROGRAM}: stdout cannot be written")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line", ["errors list --limit 0", "errors mute 1 --for 0h", "errors show", "errors", "status", ""]
)
def test_a_usage_error_exits_with_2(shell: Shell, line: str) -> None:
    code, _, complained = shell(line)

    assert code == 2
    assert complained.startswith(f"usage: {PROGRAM}")


@pytest.mark.parametrize("line", ["", "errors", "errors list", "errors show", "errors resolve", "outbox"])
def test_each_command_has_help(shell: Shell, line: str) -> None:
    code, helped, _ = shell(f"{line} --help")

    assert code == 0
    assert helped.startswith(f"usage: {PROGRAM}")
    assert (f"{PROGRAM} --outbox logs/outbox.sqlite3 errors list" in helped) == (line == "")
