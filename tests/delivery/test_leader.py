"""One leader a host: real processes, real locks."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery.mail import leader
from quartblog.delivery.mail.leader import LeaderLock
from tests.support import programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEADS_UNTIL_KILLED = """
import sys, threading
from pathlib import Path
from quartblog.delivery.mail.leader import LeaderLock
lead = LeaderLock(Path(sys.argv[1]))
print(lead.take(), flush=True)
threading.Event().wait()
"""

FORKS_AND_LETS_GO = """
import os, sys
from pathlib import Path
from quartblog.delivery.mail.leader import LeaderLock
lead = LeaderLock(Path(sys.argv[1]))
assert lead.take()
here, say_so = os.pipe()
child = os.fork()
if child:
    os.read(here, 1)
    lead.release()
    print("let go", flush=True)
    sys.stdin.read()
    os.waitpid(child, 0)
else:
    os.write(say_so, b"!")
    sys.stdin.read()
    os._exit(0)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3.leader"


@pytest.fixture
def other_process(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has asked for the lead and printed what it got."""
    process = programs.start(LEADS_UNTIL_KILLED, lock)
    yield process
    programs.killed(process)


def test_the_first_who_asks_leads_and_stays_the_leader(lock: Path) -> None:
    first, second = LeaderLock(lock), LeaderLock(lock)

    assert first.take()
    assert not second.take()
    assert first.take()


def test_a_leader_that_lets_go_is_replaced(lock: Path) -> None:
    first, second = LeaderLock(lock), LeaderLock(lock)
    assert first.take()

    first.release()

    assert second.take()
    assert not first.take()


def test_a_killed_leader_is_replaced_at_once(lock: Path, other_process: subprocess.Popen[str]) -> None:
    assert other_process.stdout is not None
    assert other_process.stdout.readline() == "True\n"
    mine = LeaderLock(lock)
    assert not mine.take()

    other_process.send_signal(signal.SIGKILL)
    other_process.wait(10)

    assert mine.take()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_the_lead_does_not_live_on_in_a_fork_of_the_leader(lock: Path) -> None:
    leader = programs.start(FORKS_AND_LETS_GO, lock, forks=True)
    assert leader.stdout
    assert leader.stdout.readline() == "let go\n"

    try:
        assert LeaderLock(lock).take()
    finally:
        programs.output(leader)


def test_a_lock_file_that_was_deleted_makes_no_second_leader(lock: Path) -> None:
    first, second = LeaderLock(lock), LeaderLock(lock)
    assert first.take()

    lock.unlink()

    assert second.take()
    assert not first.take()


def test_where_nothing_can_be_locked_everybody_leads_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    alone = LeaderLock(tmp_path / "missing" / "leader")

    assert [alone.take() for _ in range(3)] == [True] * 3

    assert capsys.readouterr().err.count("every process mails for itself") == 1
    assert [record.name for record in caplog.records] == ["quartblog.delivery.leader"]


def test_without_file_locks_everybody_leads_and_says_so_once(
    lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leader, "fcntl", None)
    first, second = LeaderLock(lock), LeaderLock(lock)

    assert first.take()
    assert first.take()
    assert second.take()

    assert capsys.readouterr().err.count("no file locks") == 2
