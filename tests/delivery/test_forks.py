"""A process that forks or spawns while it logs: every record once, and nobody waits for a thread that is not there."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Outbox, OutboxOptions
from tests.support import programs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., list[str]]

PROLOGUE = """
import logging, multiprocessing, os, sys, threading
from pathlib import Path
from quartblog.delivery import Delivery, FileOptions, OutboxOptions
logger = logging.getLogger("app")
folder = Path(sys.argv[1])

def delivery():
    return Delivery(
        file=FileOptions(path=folder / "site.log", max_bytes=10**9), outbox=OutboxOptions(path=folder / "outbox")
    )

def fail(text):
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception(text)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program and return the texts of its errors, as its log file has them."""

    def run(code: str) -> list[str]:
        programs.output(programs.start(PROLOGUE + code, tmp_path, forks=True))
        lines = (tmp_path / "site.log").read_text().splitlines()
        return [line.partition(": ")[2].partition(" [in ")[0] for line in lines if " ERROR: " in line]

    return run


TWO_FORKS = """
import os, threading
from quartblog.delivery import forks

inside, forked = threading.Event(), threading.Event()
calls = []

class Thing:
    def hold(self):
        calls.append(("hold", threading.get_ident()))
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            forked.wait(0.5)

    def go_on(self):
        calls.append(("go on", threading.get_ident()))

    def reset_in_child(self):
        pass

def fork():
    if (child := os.fork()) == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

thing = Thing()
forks.reset_after_fork(thing)
other = threading.Thread(target=fork)
other.start()
inside.wait()
fork()
forked.set()
other.join()
print(calls == [(what, who) for who in (other.ident, threading.get_ident()) for what in ("hold", "go on")])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_two_threads_that_fork_at_once_do_so_one_after_the_other(tmp_path: Path) -> None:
    assert programs.output(programs.start(TWO_FORKS, tmp_path, forks=True)) == "True\n"


def grouped(folder: Path) -> int:
    box = Outbox(OutboxOptions(folder / "outbox"))
    try:
        return sum(group.count for group in box.groups())
    finally:
        box.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestFork:
    def test_parent_and_child_write_each_record_once(self, run: Run, tmp_path: Path) -> None:
        texts = run("""
with delivery() as running:
    for number in range(50):
        fail(f"before {number}")
    child = os.fork()
    for number in range(50):
        fail(f"{'parent' if child else 'child'} {number}")
    if not child:
        assert running.drain(30)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
""")

        wanted = [f"{who} {number}" for who in ("before", "parent", "child") for number in range(50)]
        assert sorted(texts) == sorted(wanted)
        assert grouped(tmp_path) == 150

    def test_a_child_of_multiprocessing_loses_nothing_at_its_end(self, run: Run) -> None:
        texts = run("""
def work(number):
    fail(f"child {number}")

with delivery():
    children = [multiprocessing.get_context("fork").Process(target=work, args=(number,)) for number in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
""")

        assert sorted(texts) == [f"child {number}" for number in range(8)]

    def test_forks_in_the_middle_of_a_storm_do_not_hang(self, run: Run) -> None:
        texts = run("""
with delivery() as running:
    over = threading.Event()
    def storm():
        while not over.is_set():
            fail("storm")
    threads = [threading.Thread(target=storm) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(10):
        child = os.fork()
        if not child:
            fail(f"child {number}")
            os._exit(0 if running.drain(30) else 1)
        assert os.waitpid(child, 0)[1] == 0
    over.set()
    for thread in threads:
        thread.join()
""")

        assert sorted(text for text in texts if text != "storm") == sorted(f"child {number}" for number in range(10))

    def test_a_child_that_logs_nothing_starts_nothing(self, run: Run) -> None:
        run("""
with delivery():
    child = os.fork()
    if not child:
        os._exit(threading.active_count() - 1)
    assert os.waitpid(child, 0)[1] == 0
    fail("parent")
""")

    def test_a_child_that_ends_writes_nothing_its_parent_has_collected(self, run: Run) -> None:
        texts = run("""
for _ in range(8):
    with delivery() as running:
        fail("parent")
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        else:
            sys.exit()
""")

        assert texts == ["parent"] * 8

    def test_a_child_can_stop_what_it_inherited(self, run: Run) -> None:
        texts = run("""
with delivery() as running:
    fail("parent")
    child = os.fork()
    if not child:
        fail("child")
        assert running.stop(30)
        os._exit(len(logging.root.handlers))
    assert os.waitpid(child, 0)[1] == 0
""")

        assert sorted(texts) == ["child", "parent"]


def test_a_spawned_child_begins_its_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(
        PROLOGUE.replace("sys.argv[1]", json.dumps(str(tmp_path)))
        + "def work(number):\n    with delivery():\n        fail(f'child {number}')\n"
    )
    texts = run("""
sys.path.insert(0, str(folder))
import worker
with delivery():
    fail("parent")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(worker.work, range(4))
""")

    assert sorted(texts) == ["child 0", "child 1", "child 2", "child 3", "parent"]
    assert grouped(tmp_path) == 5


def test_a_program_that_ends_without_a_stop_loses_nothing(run: Run, tmp_path: Path) -> None:
    texts = run("""
delivery().start()
for number in range(100):
    fail(f"number {number}")
""")

    assert texts == [f"number {number}" for number in range(100)]
    assert grouped(tmp_path) == 100
