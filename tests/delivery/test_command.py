"""The command of the folder, on an outbox with one group of two errors."""

from __future__ import annotations

import json
import logging
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Delivery, FileOptions, Outbox, OutboxOptions, scope
from quartblog.delivery.__main__ import main
from quartblog.delivery.options import LEAST_BYTES
from quartblog.delivery.store.clock import SYSTEM
from tests.support.failures import an_event

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.capture import CaptureFixture

    from quartblog.delivery.store.clock import Clock

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

    def json(self, line: str) -> Any:
        code, printed, complained = self(f"{line} --json")
        assert (code, complained) == (0, "")
        return json.loads(printed)


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


class AnHourAgo:
    boot = SYSTEM.boot

    def wall(self) -> float:
        return SYSTEM.wall() - 3_600

    def ticks(self) -> float:
        return SYSTEM.ticks() - 3_600


@pytest.mark.parametrize(
    ("clock", "listed"),
    [(SYSTEM, "host:1 (mails): accepted 7\n"), (AnHourAgo(), "No program that uses it is running\n")],
)
def test_only_programs_that_run_are_listed(shell: Shell, tmp_path: Path, clock: Clock, listed: str) -> None:
    path = tmp_path / "another.sqlite3"
    store = Outbox(OutboxOptions(path), clock=clock)
    store.beat("host:1", leader=True, figures={"accepted": 7})
    store.close()

    assert shell("status", outbox=path)[1].endswith(listed)


def test_a_program_that_stands_still_is_named(shell: Shell, tmp_path: Path) -> None:
    # The process of the tests' parent lives, and gives no heartbeat.
    name = f"{socket.gethostname()}:{os.getppid()}"
    path = tmp_path / "another.sqlite3"
    with closing(Outbox(OutboxOptions(path), clock=AnHourAgo())) as store:
        store.beat(name, leader=True, figures={"accepted": 7})

    assert f"{name} (silent for 1 h): accepted 7\n" in shell("status", outbox=path)[1]


def test_the_status_counts_what_the_outbox_lost(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "another.sqlite3"
    with closing(Outbox(OutboxOptions(path, max_bytes=LEAST_BYTES))) as store:
        for number in range(400):
            store.record([an_event(f"{number:016x}", place="p" * 2_500, function=f"{number:016x}")])
        lost = store.totals().crowded_errors
        assert lost

    shown = shell("status", outbox=path)[1]

    assert f"lost: 0 errors too old, {lost} errors and 0 mails without room; no mail reported them\n" in shown


def test_a_group_is_shown_with_the_error_that_was_asked_for(shell: Shell) -> None:
    latest, first = (event["error_id"] for event in shell.json("errors show 1")["samples"])

    for key, message in ((latest, "picture 2 is\\x1b[2J gone"), (first.upper(), "picture 1 is\\x1b[2J gone")):
        code, shown, _ = shell(f"errors show {key}")
        assert code == 0
        assert message in shown
        assert "job shrink" in shown
        assert "\x1b" not in shown


def test_lists_are_json_as_well(shell: Shell) -> None:
    [group] = shell.json("errors list")
    status = shell.json("status")

    assert (group["id"], group["count"], group["route"]) == (1, 2, "job shrink")
    assert status["totals"]["errors"] == 2
    assert shell.json("outbox") == []


def test_the_status_counts(shell: Shell) -> None:
    code, shown, _ = shell("status")

    assert code == 0
    assert "lost" not in shown
    assert "errors: 1 open group of 2 errors, 2 not mailed yet\nmails: 0 waiting, 0 dead\n" in shown


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("errors show 4711", "4711: no group has this number, and no sample this error id; the log file may have it"),
        ("errors resolve 4711 1 zzz", "no group has this number or error id: 4711, zzz"),
        ("retry 4711", "no mail with the number 4711 waits or is dead"),
    ],
)
def test_a_missing_group_or_mail_is_named_and_exits_with_1(shell: Shell, line: str, problem: str) -> None:
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


@pytest.mark.parametrize(("to", "problem"), [(">&-", "is closed"), (">/dev/full", "cannot be written")])
@pytest.mark.parametrize("line", ["errors list", "errors show 1", "errors list --json"])
def test_a_stdout_that_takes_nothing_is_named(outbox: Path, line: str, to: str, problem: str) -> None:
    command = f"{sys.executable} -m quartblog.delivery --outbox {outbox} {line} {to}"

    ended = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{PROGRAM}: stdout {problem}")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line", ["errors list --limit 0", "errors mute 1 --for 0h", "errors show", "errors", "retry all", ""]
)
def test_a_usage_error_exits_with_2(shell: Shell, line: str) -> None:
    code, _, complained = shell(line)

    assert code == 2
    assert complained.startswith(f"usage: {PROGRAM}")


@pytest.mark.parametrize("line", ["", "errors", "errors list", "errors show", "errors resolve", "outbox", "retry"])
def test_each_command_has_help(shell: Shell, line: str) -> None:
    code, helped, _ = shell(f"{line} --help")

    assert code == 0
    assert helped.startswith(f"usage: {PROGRAM}")
    assert (f"{PROGRAM} --outbox logs/outbox.sqlite3 errors list" in helped) == (line == "")
