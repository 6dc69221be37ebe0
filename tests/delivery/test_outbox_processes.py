"""Several processes use one file: nothing they committed is lost, and every count is exact."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from quartblog.delivery import Delivery, FileOptions, Outbox, OutboxOptions
from quartblog.delivery.store.database import BUSY_SECONDS
from quartblog.delivery.store.workers import SILENT, Worker
from tests.support import programs
from tests.support.clocks import FakeClock
from tests.support.failures import an_event
from tests.support.processes import eventually

HEAD = """
import os, sys
from pathlib import Path
from quartblog.delivery import Outbox, OutboxOptions
from tests.support.clocks import FakeClock
from tests.support.failures import an_event
path, name, amount, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def numbered(number):
    key = "00000000000000aa" if number % 5 else "00000000000000bb"
    return an_event(key, error_id=f"{name}-{number}", created=float(number))
outbox = Outbox(OutboxOptions(path))
"""
RECORDING = (
    HEAD
    + """
print("ready", flush=True)
sys.stdin.readline()
for first in range(0, amount, size):
    outbox.record([numbered(number) for number in range(first, first + size)])
    outbox.heartbeats.beat(name, leader=False, figures={"recorded": first + size})
assert outbox.healthy
outbox.close()
"""
)
ENDLESS = (
    HEAD
    + """
done = 0
while True:
    outbox.record([numbered(number) for number in range(size)])
    done += 1
    print(done, flush=True)
"""
)
WAITING = (
    HEAD
    + """
for first in range(0, amount, size):
    outbox.record([numbered(number) for number in range(first, first + size)])
print("done", flush=True)
sys.stdin.readline()
"""
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


def counted(path: Path) -> int:
    outbox = Outbox(OutboxOptions(path))
    try:
        return sum(group.count for group in outbox.groups(resolved=None))
    finally:
        outbox.close()


def test_four_processes_that_record_at_once_lose_no_count(path: Path) -> None:
    sizes = (1, 2, 5, 10)
    running = [programs.start(RECORDING, path, f"w{size}", 250, size) for size in sizes]
    for each in running:
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    for each in running:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in running:
        programs.output(each)

    outbox = Outbox(OutboxOptions(path))
    groups = {group.fingerprint: group for group in outbox.groups(samples=10)}
    assert {key: group.count for key, group in groups.items()} == {"00000000000000aa": 800, "00000000000000bb": 200}
    assert {len(group.samples) for group in groups.values()} == {10}
    assert {worker.name: worker.figures for worker in outbox.workers()} == {
        f"w{size}": {"recorded": 250} for size in sizes
    }
    outbox.close()


def test_committed_errors_survive_a_kill(path: Path) -> None:
    committed = 0
    for _ in range(3):
        running = programs.start(ENDLESS, path, "w", 0, 50)
        assert running.stdout
        done = [int(running.stdout.readline()) for _ in range(20)][-1]
        running.send_signal(signal.SIGKILL)
        done += len(running.stdout.read().splitlines())
        programs.killed(running)

        now = counted(path)
        # The batch in flight is there whole or not at all.
        assert now in {committed + 50 * done, committed + 50 * (done + 1)}
        committed = now

    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_half_a_write_ahead_log_costs_no_more_than_its_end(path: Path, tmp_path: Path) -> None:
    running = programs.start(WAITING, path, "w", 150, 5)
    assert running.stdout
    assert running.stdout.readline() == "done\n"
    programs.killed(running)
    log = path.with_name(path.name + "-wal")
    whole = log.read_bytes()
    for kept, tail in ((len(whole) // 2, b""), (len(whole) // 2, os.urandom(5_000)), (0, os.urandom(5_000)), (0, b"")):
        torn = tmp_path / f"torn{kept}-{len(tail)}.sqlite3"
        shutil.copy(path, torn)
        torn.with_name(torn.name + "-wal").write_bytes(whole[:kept] + tail)

        left = counted(torn)

        assert left % 5 == 0
        assert (0 < left < 150) if kept else left == 0
        outbox = Outbox(OutboxOptions(torn))
        outbox.record([an_event()])
        assert outbox.healthy
        outbox.close()
        assert counted(torn) == left + 1
        assert list(tmp_path.glob("torn*.corrupt*")) == []


def test_a_fork_and_its_parent_each_get_a_connection_of_their_own(path: Path) -> None:
    source = (
        HEAD
        + """
outbox.record([numbered(1)])
to_child, from_parent = os.pipe()
child = os.fork()
for number in range(100):
    outbox.record([numbered(1)])
if child:
    outbox.close()
    os.write(from_parent, b"closed")
    assert os.waitpid(child, 0)[1] == 0
    os.close(to_child)
    os.close(from_parent)
else:
    # The last process that closes a file removes its log; the parent is not the last one.
    os.read(to_child, 6)
outbox.record([numbered(1)])
assert outbox.healthy
if child:
    outbox.close()
else:
    os._exit(0)  # Without closing, as when it is killed.
"""
    )
    programs.output(programs.start(source, path, "w", 0, 1, forks=True))

    assert counted(path) == 203


def test_a_fork_does_not_take_along_what_only_its_parents_memory_holds(tmp_path: Path) -> None:
    path = tmp_path / "later" / "outbox.sqlite3"
    (tmp_path / "later").touch()
    source = (
        HEAD
        + """
import logging
logging.disable(logging.CRITICAL)
sys.stderr = open(os.devnull, "w")
clock = FakeClock()
outbox = Outbox(OutboxOptions(path), clock=clock)
outbox.record([numbered(1)])
assert outbox.in_memory
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    path.parent.unlink()
clock.advance(10)
outbox.record([numbered(1)])
assert outbox.healthy
outbox.close()
sys.stderr.close()
sys.stderr = sys.__stderr__
"""
    )
    programs.output(programs.start(source, path, "w", 0, 1, forks=True))

    assert counted(path) == 3


def test_no_connection_is_left_open(path: Path) -> None:
    """Python 3.13 warns of each; here a warning is printed and so a failure."""
    source = (
        HEAD
        + """
import gc, logging, threading
logging.disable(logging.CRITICAL)
threads = [threading.Thread(target=outbox.record, args=([numbered(1)],)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
outbox.housekeeping(); outbox.close()
aside = Outbox(OutboxOptions(path))
path.unlink(); aside.record([numbered(1)]); path.unlink(); aside.groups(); aside.close()
path.write_bytes(b"garbage" * 999)
real, sys.stderr = sys.stderr, open(os.devnull, "w")
broken = Outbox(OutboxOptions(path)); broken.record([numbered(1)]); broken.close()
nowhere = Outbox(OutboxOptions(path / "x")); nowhere.record([numbered(1)]); nowhere.close()
sys.stderr.close()
sys.stderr = real
del outbox, aside, broken, nowhere
gc.collect()
"""
    )
    programs.output(programs.start(source, path, "w", 0, 1))


def test_a_worker_whose_process_id_has_another_process_does_not_hang(path: Path) -> None:
    clock = FakeClock()
    outbox = Outbox(OutboxOptions(path), clock=clock)
    name = f"{socket.gethostname()}:{os.getpid()}"
    outbox.heartbeats.beat(name, leader=False, figures={})
    clock.advance(SILENT + 1)
    assert [worker.hangs for worker in outbox.workers()] == [True]
    outbox.close()
    with closing(sqlite3.connect(path)) as file, file:
        [(began,)] = file.execute("SELECT began FROM workers").fetchall()
        if began is None:
            pytest.skip("this system does not say when a process started")
        file.execute("UPDATE workers SET began = ?", (f"{began}0",))

    assert [worker.hangs for worker in outbox.workers()] == [False]
    outbox.close()


def test_a_worker_that_ends_in_good_order_is_none_any_more(path: Path, tmp_path: Path) -> None:
    delivery = Delivery(file=FileOptions(path=tmp_path / "site.log"), outbox=OutboxOptions(path))
    delivery.start()
    reader = Outbox(OutboxOptions(path))
    assert eventually(reader.workers)

    assert delivery.stop()

    assert reader.workers() == []
    reader.close()


def test_a_stop_does_not_wait_for_a_busy_file(path: Path, tmp_path: Path) -> None:
    delivery = Delivery(file=FileOptions(path=tmp_path / "site.log"), outbox=OutboxOptions(path))
    delivery.start()
    outbox = delivery.outbox
    assert outbox is not None
    assert eventually(outbox.workers)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        delivery.stop(0.5)
        took = time.monotonic() - started

    assert took < BUSY_SECONDS - 0.5
    outbox.close()


def test_a_program_that_gave_no_heartbeat_makes_no_file_at_its_end(path: Path) -> None:
    outbox = Outbox(OutboxOptions(path))

    outbox.heartbeats.leave("host:1", figures={})
    outbox.close()

    assert not path.exists()


def test_a_process_that_ended_and_was_not_reaped_does_not_hang() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        # Not wait(): that would reap it.
        eventually(lambda: Path(f"/proc/{ended.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        worker = Worker(f"{socket.gethostname()}:{ended.pid}", leader=False, at=0.0, silent=3_600.0)

        assert not worker.hangs
