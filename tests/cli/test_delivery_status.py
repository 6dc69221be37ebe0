"""`quartblog delivery status`, on the heartbeats that workers leave."""

import datetime as dt
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from quartblog.delivery import Outbox, OutboxOptions
from tests.support.clocks import FakeClock
from tests.support.failures import Tried, a_digest, events, report_all

Command = Callable[..., Result]

FIGURES = {
    "depth": 12,
    "high_water": 3400,
    "limit": 10000,
    "accepted": 120400,
    "refused": {"INFO": 30, "ERROR": 0},
    "written": 120388,
    "grouped": 400,
    "mailed": 5,
    "retried": 2,
    "dead": 1,
    "enqueue": {"median_ms": 0.01, "p99_ms": 0.031},
    "to_file": {"median_ms": 2.1, "p99_ms": 140.4},
}


@pytest.fixture
def place(folder: Path) -> Path:
    return folder / "instance/outbox.sqlite3"


@pytest.fixture
def outbox(place: Path) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(place))
    outbox.open()
    yield outbox
    outbox.close()


def test_each_worker_has_a_line_with_its_figures(quartblog: Command, place: Path) -> None:
    with closing(Outbox(OutboxOptions(place), clock=FakeClock(time.time() - 3))) as earlier:
        earlier.heartbeats.beat("host:12", leader=True, figures={"depth": 0, "limit": 10000, "mailed": 7})
    with closing(Outbox(OutboxOptions(place))) as outbox:
        outbox.heartbeats.beat("host:11", leader=False, figures=FIGURES)

    result = quartblog("delivery", "status")

    assert result.exit_code == 0
    head, first, second = [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()[-3:]]
    assert head == [
        *("worker", "beat", "queue", "peak", "accepted", "refused", "written", "grouped", "mailed", "retried", "dead"),
        *("enqueue ms", "to file ms"),
    ]
    assert first[0] == "host:11"
    assert first[2:] == [
        *("12 of 10,000", "3,400", "120,400", "INFO 30", "120,388", "400", "5", "2", "1"),
        *("0.01 / 0.031", "2.1 / 140"),
    ]
    assert second[:3] == ["host:12", "leader", second[2]]
    assert re.fullmatch(r"[3-9]\.\d s ago", second[2])
    assert second[3:] == ["0 of 10,000", *"----", "-", "7", *"----"]


def test_figures_that_no_worker_gives_take_no_room(quartblog: Command, outbox: Outbox) -> None:
    outbox.heartbeats.beat("host:11", leader=False, figures={"accepted": 3, "of a later version": [1]})

    head = quartblog("delivery", "status").stdout.splitlines()[-2]

    assert head.split() == ["worker", "beat", "accepted"]


def test_losses_take_room_only_where_there_are_some(quartblog: Command, outbox: Outbox) -> None:
    outbox.heartbeats.beat("host:11", leader=False, figures={"written": 3, "file_lost": 0, "dropped": 0})
    assert quartblog("delivery", "status").stdout.splitlines()[-2].split() == ["worker", "beat", "written"]

    outbox.heartbeats.beat("host:11", leader=False, figures={"written": 3, "file_lost": 7, "dropped": 9})
    head, worker = quartblog("delivery", "status").stdout.splitlines()[-2:]
    assert head.endswith("  lost for the file  dropped")
    assert worker.split()[-2:] == ["7", "9"]


def test_a_queue_that_refused_nothing_says_so(quartblog: Command, outbox: Outbox) -> None:
    outbox.heartbeats.beat("host:11", leader=False, figures={"refused": {}})

    assert quartblog("delivery", "status").stdout.splitlines()[-1].split()[-1] == "0"


def test_what_all_workers_share_stands_above_them(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(1000))
    report_all(outbox)
    outbox.record(events(204))
    outbox.record(events(1, fingerprint="fedcba9876543210"))
    number = a_digest(outbox)
    outbox.sending.failed(number, Tried("away", wait=7201))
    outbox.sending.dead(a_digest(outbox), Tried("550 no"))

    lines = quartblog("delivery", "status").stdout.splitlines()

    assert lines[0] == "outbox  instance/outbox.sqlite3 (on disk)"
    assert lines[1] == "errors  2 open groups, 1,205 errors, 205 not mailed yet"
    assert re.fullmatch(r"mails   1 waiting \(next try in (2 h( 1 s)?|1 h 59 min)\), 1 dead", lines[2])


def left(path: Path, *ago: float) -> None:
    """Let digests leave so many seconds ago, the earliest first."""
    clock = FakeClock(time.time() - ago[0])
    with closing(Outbox(OutboxOptions(path), clock=clock)) as outbox:
        for seconds, following in zip(ago, (*ago[1:], 0), strict=True):
            report_all(outbox)
            clock.advance(seconds - following)


def test_what_the_hourly_cap_still_allows_is_told(quartblog: Command, place: Path) -> None:
    left(place, 3601, 1800, 60)

    cap = quartblog("delivery", "status").stdout.splitlines()[3]

    assert cap == "cap     2 of 30 digests in the last hour"


def test_a_cap_that_is_spent_tells_when_the_next_digest_may_leave(quartblog: Command, place: Path) -> None:
    left(place, 3000, 1800, 60)
    cap = {"QUARTBLOG_DELIVERY__MAILS_PER_HOUR": "2"}

    line = quartblog("delivery", "status", **cap).stdout.splitlines()[3]
    found = json.loads(quartblog("delivery", "status", "--json", **cap).stdout)["cap"]

    # The second of the latest two is an hour old in half an hour.
    assert re.fullmatch(
        r"cap     spent: 3 of 2 digests in the last hour, the next may leave in (30 min|29 min 5\d s)", line
    )
    assert (found["digests"], found["per_hour"], found["spent"]) == (3, 2, True)
    assert 1790 < dt.datetime.fromisoformat(found["free_at"]).timestamp() - time.time() <= 1800


def test_digests_that_are_spread_wide_tell_when_the_next_may_leave(quartblog: Command, place: Path) -> None:
    left(place, 60)

    line = quartblog("delivery", "status", QUARTBLOG_DELIVERY__BATCH_SECONDS="660").stdout.splitlines()[3]

    assert re.fullmatch(r"cap     1 of 30 digests in the last hour, the next may leave in (10 min|9 min 5\d s)", line)


def test_a_cap_that_nobody_knows_is_not_made_up(quartblog: Command, place: Path) -> None:
    left(place, 1)

    assert "cap     1 digest in the last hour\n" in quartblog("delivery", "status", QUARTBLOG_MAIL__PORT="0").stdout


def test_the_status_reads_no_mail_only_to_count_it(
    quartblog: Command, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loading in ("mails", "groups"):
        monkeypatch.setattr(Outbox, loading, None)
    a_digest(outbox)

    assert "mails   1 waiting (next try now), 0 dead" in quartblog("delivery", "status").stdout


@pytest.mark.parametrize("beats", [0, 1])
def test_a_host_without_a_live_worker_is_told(quartblog: Command, place: Path, beats: int) -> None:
    with closing(Outbox(OutboxOptions(place), clock=FakeClock(time.time() - 3600))) as outbox:
        outbox.open()
        for _ in range(beats):
            outbox.heartbeats.beat("host:11", leader=True, figures=FIGURES)

    result = quartblog("delivery", "status")

    assert result.exit_code == 0
    assert result.stdout.endswith("\n\nNo worker is running (no heartbeat within 10 s)\n")


def test_the_status_as_json_has_the_figures_as_they_were_given(quartblog: Command, outbox: Outbox) -> None:
    outbox.heartbeats.beat("host:11", leader=True, figures=FIGURES)

    status = json.loads(quartblog("delivery", "status", "--json").stdout)

    assert status["outbox"] == {"path": "instance/outbox.sqlite3", "usable": True}
    assert status["totals"] == {
        "open_groups": 0,
        "errors": 0,
        "to_mail": 0,
        "waiting": 0,
        "dead": 0,
        "next_try": None,
        "old_errors": 0,
        "crowded_errors": 0,
        "crowded_mails": 0,
        "last_loss": None,
        "resolved_groups": 0,
        "sent": 0,
    }
    [worker] = status["workers"]
    assert (worker["worker"], worker["leader"]) == ("host:11", True)
    assert 0 <= worker["heartbeat_age"] < 10
    assert FIGURES.items() <= worker.items()


def test_a_worker_that_stands_still_is_named_and_one_that_ended_is_not(quartblog: Command, place: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    with closing(Outbox(OutboxOptions(place), clock=FakeClock(time.time() - 60))) as earlier:
        for name in (f"{host}:{os.getpid()}", f"{host}:{ended.pid}", "another-host:1"):
            earlier.heartbeats.beat(name, leader=True, figures={})

    shown = quartblog("delivery", "status").stdout
    workers = json.loads(quartblog("delivery", "status", "--json").stdout)["workers"]

    [line] = [line for line in shown.splitlines() if f"{host}:" in line]
    assert re.search(rf"^{re.escape(host)}:{os.getpid()} .*silent for 1 min", line)
    assert [worker["worker"] for worker in workers] == [f"{host}:{os.getpid()}"]
    assert workers[0]["heartbeat_age"] >= 60
    assert not workers[0]["leader"]
    assert "leader" not in line


def test_what_was_lost_has_a_line_only_where_something_was(quartblog: Command, outbox: Outbox) -> None:
    assert "lost" not in quartblog("delivery", "status").stdout

    with closing(sqlite3.connect(outbox.path or "")) as file, file:
        rows = [("old_errors", 1), ("crowded_errors", 1200), ("crowded_mails", 2)]
        file.executemany("INSERT INTO losses VALUES (?, ?, 1700000000)", rows)

    [line] = [line for line in quartblog("delivery", "status").stdout.splitlines() if line.startswith("lost")]
    assert line.startswith(
        "lost    1 error too old, 1,200 errors without room, 2 mails without room (the last at 2023-11-1"
    )


def test_watching_draws_every_second_until_it_is_interrupted(
    quartblog: Command, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt
        outbox.heartbeats.beat("host:11", leader=True, figures=FIGURES)

    monkeypatch.setattr("quartblog.cli.delivery.pause", pause)

    result = quartblog("delivery", "status", "--watch")

    assert result.exit_code == 0
    assert pauses == [1.0, 1.0]
    before, after = result.stdout.split("outbox ")[1:]
    assert "No worker is running" in before
    assert "host:11" in after


def test_a_terminal_is_redrawn_in_place(
    quartblog: Command, outbox: Outbox, terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quartblog.cli.delivery.pause", pause)

    assert quartblog("delivery", "status", "--watch").stdout.startswith("\x1b[H\x1b[Joutbox ")
    assert "\x1b" not in quartblog("delivery", "status").stdout


def test_watching_as_json_is_one_line_a_look(
    quartblog: Command, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([None, None, KeyboardInterrupt()])

    def pause(_seconds: float) -> None:
        if (end := next(looks)) is not None:
            raise end

    monkeypatch.setattr("quartblog.cli.delivery.pause", pause)

    lines = quartblog("delivery", "status", "--watch", "--json").stdout.strip().splitlines()

    assert [json.loads(line)["workers"] for line in lines] == [[], [], []]


def test_an_outbox_of_a_later_version_is_one_clear_line_and_left_alone(quartblog: Command, outbox: Outbox) -> None:
    outbox.close()
    with closing(sqlite3.connect(outbox.path or "")) as file:
        file.execute("PRAGMA user_version = 99")

    result = quartblog("delivery", "status")

    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: instance/outbox.sqlite3: the outbox cannot be used: the file has version 99"
    )
    assert result.stderr.count("\n") == 1


def test_a_damaged_outbox_is_moved_aside_with_a_warning(quartblog: Command, folder: Path) -> None:
    path = folder / "instance/outbox.sqlite3"
    path.parent.mkdir()
    path.write_text("this is no database, however long one looks at it" * 100)

    result = quartblog("delivery", "status")

    assert result.exit_code == 0
    assert result.stderr.startswith(
        "Warning: instance/outbox.sqlite3 was damaged: it was renamed to instance/outbox.sqlite3.cor"
    )
    assert result.stderr.count("\n") == 1


def test_an_outbox_that_fails_while_it_is_watched_is_told(
    quartblog: Command, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause(_seconds: float) -> None:
        if outbox.path is not None and outbox.path.is_file():
            outbox.close()
            outbox.path.unlink()
            outbox.path.mkdir()
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("quartblog.cli.delivery.pause", pause)

    result = quartblog("delivery", "status", "--watch")

    assert result.exit_code == 0
    assert "instance/outbox.sqlite3 (on disk)" in result.stdout
    assert "instance/outbox.sqlite3 (cannot be used)" in result.stdout
