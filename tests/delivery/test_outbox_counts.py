"""The counts of all processes in sum, which Prometheus reads: none of them may fall, however a process ends."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Delivery, FileOptions, Outbox, OutboxOptions, Statistics
from quartblog.delivery.store.database import APPLICATION_ID
from quartblog.delivery.store.schema import MIGRATIONS
from tests.support import programs
from tests.support.clocks import START, FakeClock
from tests.support.processes import eventually

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86_400.0
OURS = f"{socket.gethostname()}:{os.getpid()}"
BEATING = """
import os, socket, sys
from pathlib import Path
from quartblog.delivery import Outbox, OutboxOptions
outbox = Outbox(OutboxOptions(Path(sys.argv[1])))
name = f"{socket.gethostname()}:{os.getpid()}"
outbox.heartbeats.beat(name, leader=False, figures={"accepted": 100})
print(name, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(path: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(path), clock=clock)
    yield outbox
    outbox.close()


def beat(outbox: Outbox, accepted: int, name: str = "host:1") -> None:
    outbox.heartbeats.beat(name, leader=False, figures={"accepted": accepted})


def test_only_what_grows_is_summed(outbox: Outbox) -> None:
    figures = Statistics(
        depth=3, limit=10, high_water=4, accepted=7, written=6, grouped=5, mailed=2, refused={"INFO": 2, "ERROR": 1}
    ).as_dict()
    outbox.heartbeats.beat("host:1", leader=True, figures=figures)
    outbox.heartbeats.beat("host:2", leader=False, figures={**figures, "refused": {"INFO": 1}, "retried": 1})
    summed = Statistics(accepted=14, written=12, grouped=10, mailed=4, retried=1, refused={"INFO": 3, "ERROR": 1})
    assert outbox.counts() == summed

    outbox.heartbeats.leave("host:1", figures=figures)
    assert outbox.counts() == summed


def test_a_process_that_ends_in_good_order_leaves_its_last_counts(outbox: Outbox) -> None:
    beat(outbox, 5)
    beat(outbox, 1, "host:2")

    outbox.heartbeats.leave("host:1", figures={"accepted": 8})

    assert [worker.name for worker in outbox.workers()] == ["host:2"]
    assert outbox.counts().accepted == 9


def test_counts_go_on_from_one_start_to_the_next(outbox: Outbox) -> None:
    for start in range(3):
        beat(outbox, 0)
        assert outbox.counts().accepted == 10 * start
        outbox.heartbeats.leave("host:1", figures={"accepted": 10})

    assert outbox.counts().accepted == 30


def test_a_process_that_was_killed_counts_before_and_after_its_row_is_deleted(path: Path) -> None:
    with closing(Outbox(OutboxOptions(path))) as outbox:
        process = programs.start(BEATING, path)
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        age(path)
        outbox.housekeeping()
        assert [worker.name for worker in outbox.workers()] == [name], "it was taken for dead"

        process.send_signal(signal.SIGKILL)
        process.wait()
        process.communicate()
        assert (len(outbox.workers()), outbox.counts().accepted) == (1, 100)
        outbox.housekeeping()

        assert (outbox.workers(), outbox.counts().accepted) == ([], 100)


def age(path: Path) -> None:
    """Let all heartbeats be two days old."""
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE workers SET at = at - ?", (2 * DAY,))


def test_a_process_that_slept_for_days_is_counted_once(outbox: Outbox, clock: FakeClock) -> None:
    beat(outbox, 5, OURS)
    clock.advance(3 * DAY)

    outbox.housekeeping()
    beat(outbox, 6, OURS)

    assert outbox.counts().accepted == 6


def test_a_process_with_the_id_of_a_killed_one_adds_to_its_counts(outbox: Outbox, path: Path) -> None:
    # As the first process of a container, which has the same id at each start.
    beat(outbox, 5, OURS)
    with closing(sqlite3.connect(path)) as file, file:
        if file.execute("SELECT began FROM workers").fetchone() == (None,):
            pytest.skip("this system does not say when a process started")
        file.execute("UPDATE workers SET began = began || '0'")

    for accepted in (1, 2):
        beat(outbox, accepted, OURS)

        assert (len(outbox.workers()), outbox.counts().accepted) == (1, 5 + accepted)


def test_a_reboot_leaves_the_counts(outbox: Outbox, path: Path, clock: FakeClock) -> None:
    beat(outbox, 5, OURS)
    clock.reboot()

    with closing(Outbox(OutboxOptions(path), clock=clock)) as after:
        assert (after.workers(), after.counts().accepted) == ([], 5)


def test_figures_that_are_no_json_hold_no_deletion(outbox: Outbox, path: Path, clock: FakeClock) -> None:
    outbox.heartbeats.beat("host:1", leader=False, figures={"accepted": float("nan"), "written": 3})
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE workers SET figures = 'cut off'")
    beat(outbox, 4, "host:2")

    assert outbox.counts().accepted == 4
    clock.advance(2 * DAY)
    outbox.housekeeping()
    assert (outbox.workers(), outbox.counts().accepted) == ([], 4)


def test_a_delivery_that_stops_leaves_what_it_has_counted(
    path: Path, tmp_path: Path, app_logger: logging.Logger
) -> None:
    delivery = Delivery(file=FileOptions(path=tmp_path / "site.log"), outbox=OutboxOptions(path))
    delivery.start()
    with closing(Outbox(OutboxOptions(path))) as reader:
        assert eventually(reader.workers)
        for number in range(20):
            app_logger.warning("number %s", number)
        before = reader.counts().accepted

        assert delivery.stop()

        assert reader.workers() == []
        assert reader.counts().accepted >= max(before, 20)


def test_a_file_of_an_earlier_version_counts_from_its_workers_on(path: Path, clock: FakeClock) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in itertools.chain(*MIGRATIONS[:7]):
            file.execute(statement, {"now": START} if ":now" in statement else {})
        file.execute("PRAGMA user_version = 7")
        row = ("host:1", 1, START, '{"accepted": 3, "refused": {"INFO": 2}, "run": "1:2"}')
        file.execute("INSERT INTO workers (name, leader, at, figures) VALUES (?, ?, ?, ?)", row)

    with closing(Outbox(OutboxOptions(path), clock=clock)) as outbox:
        assert (outbox.counts().accepted, outbox.counts().refused) == (3, {"INFO": 2})
        clock.advance(2 * DAY)
        outbox.housekeeping()

        assert outbox.workers() == []
        assert (outbox.counts().accepted, outbox.counts().refused) == (3, {"INFO": 2})
        assert outbox.healthy
