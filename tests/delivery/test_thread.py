"""The thread that talks to the mail server: it may be slow there, and nowhere else. One process mails for all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import MailOptions, Outbox, OutboxOptions
from quartblog.delivery.mail.sender import Sender
from quartblog.delivery.mail.thread import MailThread
from quartblog.delivery.options import MailingOptions
from quartblog.delivery.store.fallback import RETRY_SECONDS
from quartblog.delivery.store.workers import LEASE
from quartblog.delivery.tools import new_message
from tests.support import programs
from tests.support.clocks import FakeClock
from tests.support.failures import an_event
from tests.support.smtp import Accepting, Away, MailServer

from .conftest import ADMINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., MailThread]

WORKER = """
import sys
from pathlib import Path
from quartblog.delivery.mail.thread import MailThread
from quartblog.delivery.options import MailingOptions, MailOptions
from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.mail.sender import Sender
outbox = Outbox(OutboxOptions(Path(sys.argv[1])))
admins = ("ada@example.org",)
mail = MailOptions("127.0.0.1", port=int(sys.argv[2]), sender="blog@example.org", admins=admins, timeout=1.0)
mailer = MailThread(outbox, Sender(outbox, mail, MailingOptions(batch_seconds=0.0, retry_min=0.1, retry_max=0.1)))
mailer.start()
mailer.drain(5)
print(mailer.leading, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(OutboxOptions(tmp_path / "outbox.sqlite3"))
    yield box
    box.close()


@pytest.fixture
def start(outbox: Outbox) -> Iterator[Start]:
    """Start a mailer; it is stopped at the end."""
    started: list[tuple[MailThread, Outbox]] = []

    def begin(mail: MailOptions | None, *, using: Outbox = outbox, **options: Any) -> MailThread:
        sender = Sender(using, mail, MailingOptions(), chance=lambda: 1.0)
        mailer = MailThread(using, sender, **options)
        mailer.start()
        started.append((mailer, using))
        return mailer

    yield begin
    for mailer, used in started:
        # A thread that is left behind would open the outbox again, after the test has closed it.
        assert mailer.stop(10)
        used.close()


@pytest.fixture
def worker(outbox: Outbox) -> Iterator[Callable[[MailServer], subprocess.Popen[str]]]:
    """Start a process with a mailer of its own; it has looked once when this returns."""
    started: list[subprocess.Popen[str]] = []

    def begin(server: MailServer) -> subprocess.Popen[str]:
        started.append(programs.start(WORKER, outbox.path, server.port))
        return started[-1]

    yield begin
    for process in started:
        programs.killed(process)


def beat_two_days_ago(outbox: Outbox) -> None:
    """Leave the heartbeat of a worker that is gone."""
    assert outbox.path is not None
    with contextlib.closing(Outbox(OutboxOptions(outbox.path), clock=FakeClock(time.time() - 2 * 86_400))) as earlier:
        earlier.heartbeats.beat("host:1", leader=True, figures={})


def leads(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "True\n"


def eventually(happened: Callable[[], object], within: float = 5.0) -> bool:
    """Ask again and again; False when it did not happen in time."""
    pause = threading.Event()
    deadline = time.monotonic() + within
    while not happened():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.01)
    return True


def test_due_mail_is_sent_by_the_time_a_drain_returns(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], outbox: Outbox, start: Start
) -> None:
    mailer = start(mail_to(accepting_server))
    for number in range(3):
        outbox.post(new_message(mail_to(accepting_server), f"number {number}", "text"), ADMINS)

    assert mailer.drain(10)
    assert [mail["Subject"] for mail in accepting_server.messages] == ["number 0", "number 1", "number 2"]


def test_nobody_has_to_ask_for_a_mail_to_leave(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], outbox: Outbox, start: Start
) -> None:
    start(mail_to(accepting_server))
    outbox.record([an_event(created=time.time())])

    assert eventually(lambda: accepting_server.messages)


def test_a_wake_starts_the_next_round_at_once(
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    outbox: Outbox,
    start: Start,
) -> None:
    mailer = start(mail_to(accepting_server), look=60.0)
    for number in range(3):
        outbox.post(new_message(mail_to(accepting_server), f"number {number}", "text"), ADMINS)
        mailer.wake()
        assert eventually(lambda: len(accepting_server.messages) > number)  # noqa: B023  asked before the next


def test_time_may_belong_to_a_test(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], start: Start
) -> None:
    clock = FakeClock()
    outbox = Outbox(clock=clock)
    accepting_server.behaviour = Away
    outbox.post(new_message(mail_to(accepting_server), "subject", "text"), ADMINS)
    mailer = start(mail_to(accepting_server), using=outbox)
    assert mailer.drain(10)
    accepting_server.behaviour = Accepting
    assert mailer.drain(10)
    assert accepting_server.messages == []

    clock.advance(3_600)
    assert mailer.drain(10)

    assert len(accepting_server.messages) == 1


@pytest.mark.parametrize("which", ["silent_server", "slow_server"])
def test_stop_does_not_wait_for_the_mail_server_and_the_mail_stays(
    which: str, request: pytest.FixtureRequest, mail_to: Callable[..., MailOptions], outbox: Outbox, start: Start
) -> None:
    server: MailServer = request.getfixturevalue(which)
    mailer = start(mail_to(server, timeout=60.0))
    number = outbox.post(new_message(mail_to(server), "subject", "text"), ADMINS)
    mailer.wake()
    assert server.connected.wait(5)
    started = time.monotonic()

    assert mailer.stop(5)
    assert time.monotonic() - started < 3
    assert not mailer.alive
    assert mailer.stop(5)
    assert [(mail.id, mail.tries) for mail in outbox.mails("waiting")] == [(number, 0)]
    assert not mailer.drain(0.01)


def test_stopping_right_after_the_start_is_harmless(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], start: Start
) -> None:
    assert start(mail_to(accepting_server)).stop(5)


def test_heartbeats_go_on_while_the_mail_server_is_slow(
    silent_server: MailServer, mail_to: Callable[..., MailOptions], outbox: Outbox, start: Start
) -> None:
    beats: list[int] = []

    def figures() -> dict[str, int]:
        beats.append(1)
        return {"beats": len(beats)}

    outbox.post(new_message(mail_to(silent_server), "subject", "text"), ADMINS)
    start(mail_to(silent_server, timeout=60.0), figures=figures, beat=0.02)
    assert silent_server.connected.wait(5)
    before = len(beats)

    assert eventually(lambda: len(beats) > before + 1)
    [worker] = outbox.workers()
    assert worker.leader
    assert worker.name.endswith(f":{os.getpid()}")
    assert worker.figures["beats"] > 1


def test_without_a_mail_server_the_worker_still_gives_heartbeats(outbox: Outbox, start: Start) -> None:
    mailer = start(None, figures=lambda: {"written": 3}, beat=0.02)
    outbox.record([an_event(created=time.time())])

    assert mailer.drain(5)
    assert eventually(outbox.workers)
    assert outbox.workers()[0].figures == {"written": 3}
    assert len(outbox.unreported()) == 1


def test_a_bug_of_ours_is_reported_once_and_ends_nothing(
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    outbox: Outbox,
    start: Start,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    capsys: pytest.CaptureFixture[str] = request.getfixturevalue("capsys")
    failed = threading.Semaphore(0)

    def broken(*_: object, **__: object) -> None:
        failed.release()
        raise ZeroDivisionError("a bug of ours")

    with monkeypatch.context() as patch:
        patch.setattr(outbox.sending, "digest_is_due", broken)
        mailer = start(mail_to(accepting_server))
        for _ in range(3):
            mailer.wake()
            assert failed.acquire(timeout=5)
    outbox.record([an_event(created=time.time())])

    assert mailer.drain(5)
    assert len(accepting_server.messages) == 1
    assert capsys.readouterr().err.count("a bug of ours") == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, RuntimeError])
@pytest.mark.parametrize("place", ["lead", "digest_is_due", "claim", "beat"])
def test_nothing_that_is_raised_ends_the_thread(
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    outbox: Outbox,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kind: type[BaseException],
    place: str,
) -> None:
    called = outbox.heartbeats if place == "beat" else outbox.sending
    real = getattr(called, place)
    raised: list[BaseException] = []

    def fail_at_first(*args: Any, **more: Any) -> Any:
        if not raised:
            raised.append(kind())
            raise raised[0]
        return real(*args, **more)

    monkeypatch.setattr(called, place, fail_at_first)
    mailer = start(mail_to(accepting_server))
    assert eventually(lambda: raised)
    outbox.post(new_message(mail_to(accepting_server), "subject", "text"), ADMINS)

    assert mailer.drain(10)
    assert not mailer.died
    assert len(accepting_server.messages) == 1
    assert eventually(outbox.workers)


def test_a_thread_that_ended_for_good_is_noticed(outbox: Outbox, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not MailThread(outbox, Sender(outbox, None, MailingOptions())).died  # It is still to be started.
    assert not start(None).died

    mailer = start(None)
    mailer.stop(5)

    assert mailer.died


def test_changed_options_hold_from_the_next_mail_on(
    accepting_server: MailServer,
    slow_server: MailServer,
    mail_to: Callable[..., MailOptions],
    outbox: Outbox,
    start: Start,
) -> None:
    mailer = start(None)
    outbox.post(new_message(mail_to(accepting_server), "subject", "text"), ADMINS)
    assert mailer.drain(5)
    assert outbox.mails("waiting")

    mailer.reconfigure(mail_to(accepting_server), MailingOptions())
    assert mailer.drain(5)

    assert len(accepting_server.messages) == 1


def test_of_two_mailers_one_sends_and_the_other_waits_for_it(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], outbox: Outbox, start: Start
) -> None:
    first = start(mail_to(accepting_server))
    assert first.drain(5)
    second = start(mail_to(accepting_server))
    outbox.record([an_event(created=time.time())])

    assert second.drain(5)
    assert (first.leading, second.leading) == (True, False)
    assert len(accepting_server.messages) == 1


def test_a_worker_without_a_mail_server_leaves_the_lead_to_one_that_has_it(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], outbox: Outbox, start: Start
) -> None:
    without = start(None, beat=0.02)
    assert eventually(outbox.workers)  # It has looked by its first beat.
    able = start(mail_to(accepting_server), beat=0.02)
    outbox.record([an_event(created=time.time())])

    assert able.drain(5)
    assert (without.leading, able.leading) == (False, True)
    assert len(accepting_server.messages) == 1


def test_the_lead_goes_with_the_mail_server_and_comes_with_it(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], start: Start
) -> None:
    first = start(mail_to(accepting_server), beat=0.02)
    assert eventually(lambda: first.leading)
    second = start(mail_to(accepting_server), beat=0.02)

    first.reconfigure(None, MailingOptions())
    assert eventually(lambda: second.leading)
    assert not first.leading

    first.reconfigure(mail_to(accepting_server), MailingOptions())
    second.reconfigure(None, MailingOptions())
    assert eventually(lambda: first.leading)


def test_a_worker_without_a_mail_server_waits_for_no_other(
    silent_server: MailServer, mail_to: Callable[..., MailOptions], outbox: Outbox, start: Start
) -> None:
    start(mail_to(silent_server, timeout=60.0))
    outbox.post(new_message(mail_to(silent_server), "subject", "text"), ADMINS)
    without = start(None)
    assert silent_server.connected.wait(5)

    assert without.drain(0)


def test_a_drain_does_not_wait_for_a_mail_server_that_was_removed(
    silent_server: MailServer, mail_to: Callable[..., MailOptions], outbox: Outbox, start: Start
) -> None:
    outbox.post(new_message(mail_to(silent_server), "subject", "text"), ADMINS)
    mailer = start(mail_to(silent_server, timeout=60.0))
    assert silent_server.connected.wait(5)

    mailer.reconfigure(None, MailingOptions())

    assert mailer.drain(0)


def test_without_any_mail_server_the_outbox_is_cleared_too(outbox: Outbox, start: Start) -> None:
    beat_two_days_ago(outbox)

    start(None, beat=0.02)

    assert eventually(lambda: "host:1" not in {worker.name for worker in outbox.workers()})


def test_of_the_workers_with_a_mail_server_only_the_leader_clears_the_outbox(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], outbox: Outbox, start: Start
) -> None:
    beats: list[int] = []

    def figures() -> dict[str, int]:
        beats.append(1)
        return {}

    beat_two_days_ago(outbox)
    other = outbox.sending.lead("host:2")
    assert other

    start(mail_to(accepting_server), figures=figures, beat=0.02)
    # With the third beat the second round is over.
    assert eventually(lambda: len(beats) > 2)
    assert "host:1" in {worker.name for worker in outbox.workers()}

    outbox.sending.resign(other)
    assert eventually(lambda: "host:1" not in {worker.name for worker in outbox.workers()})


def test_a_process_that_ends_at_once_is_no_worker(outbox: Outbox, start: Start) -> None:
    assert start(None).stop(5)

    assert outbox.workers() == []


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a process that can be stopped")
def test_a_leader_that_stands_still_is_replaced_and_sends_nothing_when_it_goes_on(
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    outbox: Outbox,
    start: Start,
    *,
    worker: Callable[[MailServer], subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    leader = worker(accepting_server)
    assert leads(leader)
    leader.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    outbox.record([an_event(created=time.time())])
    follower = start(mail_to(accepting_server))

    assert eventually(lambda: accepting_server.messages, within=30)
    assert time.monotonic() - stopped > LEASE - 2
    assert follower.leading
    assert eventually(lambda: "has not renewed its lease for" in capsys.readouterr().err, within=1)

    leader.send_signal(signal.SIGCONT)
    for number in range(3):
        outbox.post(new_message(mail_to(accepting_server), f"number {number}", "text"), ADMINS)
        assert follower.drain(10)
    assert follower.leading
    assert len(accepting_server.messages) == 4
    assert len({mail["Message-ID"] for mail in accepting_server.messages}) == 4


def test_a_killed_leader_is_followed_within_seconds(
    accepting_server: MailServer, outbox: Outbox, worker: Callable[[MailServer], subprocess.Popen[str]]
) -> None:
    leader, follower = worker(accepting_server), None
    assert leads(leader)
    follower = worker(accepting_server)
    assert not leads(follower)

    leader.send_signal(signal.SIGKILL)
    leader.wait(5)
    outbox.record([an_event(created=time.time())])

    assert eventually(lambda: accepting_server.messages, within=20)
    assert len(accepting_server.messages) == 1


def test_a_leader_killed_while_it_sends_leaves_the_mail_and_its_message_id(
    slow_server: MailServer, outbox: Outbox, worker: Callable[[MailServer], subprocess.Popen[str]]
) -> None:
    outbox.record([an_event(created=time.time())])
    leader = worker(slow_server)
    assert slow_server.connected.wait(10)
    [begun] = outbox.mails("waiting")
    leader.send_signal(signal.SIGKILL)
    leader.wait(5)
    slow_server.release()

    worker(slow_server)

    assert eventually(lambda: outbox.mails("sent"), within=30)
    assert {mail["Message-ID"] for mail in slow_server.messages} == {begun.message_id}
    assert outbox.unreported() == []


def test_a_process_that_has_the_disk_back_leaves_its_mail_to_the_leader(
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    tmp_path: Path,
    start: Start,
) -> None:
    clock, folder, elsewhere = FakeClock(), tmp_path / "data", tmp_path / "elsewhere"
    folder.mkdir()
    outbox = Outbox(OutboxOptions(folder / "outbox.sqlite3"), clock=clock)
    leader = outbox.sending.lead("host:2")
    assert leader
    folder.rename(elsewhere)
    folder.touch()
    outbox.post(new_message(mail_to(accepting_server), "posted in the outage", "text"), ADMINS)
    assert outbox.in_memory
    folder.unlink()
    elsewhere.rename(folder)
    clock.advance(RETRY_SECONDS)

    mailer = start(mail_to(accepting_server), using=outbox)

    assert not mailer.drain(0.2), "another process is to send it"
    assert accepting_server.messages == []
    outbox.sending.resign(leader)
    assert eventually(lambda: accepting_server.messages)
    assert mailer.stop(5)
    outbox.close()
