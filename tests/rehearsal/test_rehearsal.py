"""A rehearsal: how it storms, what it measures of the real pipeline, and what it suggests."""

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quartblog.delivery import FileOptions, MailingOptions, MailOptions, Percentiles, QueueOptions, Reader
from quartblog.delivery.store.sending import Sending
from quartblog.rehearsal import rehearsal
from quartblog.rehearsal.rehearsal import Stage, rehearse
from quartblog.rehearsal.report import Peaks, Plan, Rehearsed, Suggestion, suggestions
from quartblog.rehearsal.server import RehearsalServer
from quartblog.rehearsal.storm import FRAMES, Storm, kinds_in

MAIL = MailOptions(
    server="mail.invalid", sender="blog@example.org", admins=("ada@example.org",), username="ada", password="secret"
)
QUICK = MailingOptions(batch_seconds=0.05, retry_min=0.05, retry_max=0.1)


class Hours:
    """A clock that only moves while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


class Slow(logging.Handler):
    """Lets time pass with every error that is logged: so many seconds each, the last ones for all that follow."""

    def __init__(self, hours: Hours, *seconds: float) -> None:
        super().__init__(logging.ERROR)
        self._hours = hours
        self._seconds = [*seconds]

    def emit(self, _record: logging.LogRecord) -> None:
        self._hours.now += self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]

    def __enter__(self) -> None:
        logging.getLogger("rehearsal").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("rehearsal").removeHandler(self)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A configuration whose real files and mail server must stay as they are."""
    return Stage(QueueOptions(), FileOptions(path=tmp_path / "logs/real.log"), MAIL, QUICK)


@pytest.fixture
def rehearsed() -> Rehearsed:
    """A storm of 5 s that the settings coped with."""
    return Rehearsed(
        plan=Plan(rate=100, distinct=2, seconds=5.0),
        lasted=5.0,
        drained=5.0,
        offered={"INFO": 500, "ERROR": 500},
        refused={},
        size=10_000,
        high_water=20,
        depths=((0.0, 20), (5.0, 0)),
        call=Percentiles(0.01, 0.05),
        to_file=Percentiles(1.0, 20.0),
        to_mail=Percentiles(300.0, 500.0),
        kinds_in_time=2,
        grouped=500,
        in_time=2,
        mails=3,
        counted=500,
        held=0,
        waiting=0,
        dead=0,
        tries=3,
    )


@pytest.fixture
def suggest(rehearsed: Rehearsed) -> Callable[..., list[Suggestion]]:
    """What is suggested after a rehearsal that was changed like this."""

    def suggest(mail: MailOptions = MAIL, mailing: MailingOptions | None = None, **changes: Any) -> list[Suggestion]:
        found = suggestions(replace(rehearsed, **changes), QueueOptions(), mail, mailing or MailingOptions())
        return list(found)

    return suggest


async def test_the_storm_keeps_its_rate(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hours = Hours()
    storm = Storm(Plan(rate=50, distinct=3, seconds=2.0), clock=hours, sleep=hours.sleep)

    await storm.rage(lambda _at: None)

    assert storm.offered == {"INFO": 100, "ERROR": 100}
    assert storm.lasted == pytest.approx(2.0, abs=0.02)
    assert len(storm.costs) == 100
    assert set(storm.first_seen) == {0, 1, 2}
    errors = [record for record in caplog.records if record.exc_info]
    assert [str(record.exc_info[1]) for record in errors[:4] if record.exc_info] == [
        f"rehearsed failure {number}" for number in (0, 1, 2, 0)
    ]
    assert len({type(record.exc_info[1]) for record in errors if record.exc_info}) == 3


async def test_each_failure_has_as_many_frames_as_is_said(caplog: pytest.LogCaptureFixture) -> None:
    hours = Hours()
    await Storm(Plan(rate=1, seconds=0.5), clock=hours, sleep=hours.sleep).rage(lambda _at: None)

    [record] = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    trace, frames = record.exc_info[2], 0
    while trace is not None:
        trace, frames = trace.tb_next, frames + 1
    assert frames == FRAMES


async def test_a_rate_beyond_the_machine_still_lets_the_loop_turn() -> None:
    hours = Hours()
    storm = Storm(Plan(rate=1000, seconds=1.0), clock=hours, sleep=hours.sleep)

    with Slow(hours, 0.01):
        await storm.rage(lambda _at: None)

    assert len(hours.naps) >= 4
    assert 80 <= len(storm.costs) <= 100 + 2 * 21


async def test_a_machine_that_stands_still_meanwhile_still_gets_the_end_of_the_storm() -> None:
    hours = Hours()
    storm = Storm(Plan(rate=1000, seconds=0.2), clock=hours, sleep=hours.sleep)

    with Slow(hours, 10, 0):
        await storm.rage(lambda _at: None)

    assert len(storm.costs) == 1 + 21


async def test_records_below_the_level_are_not_offered() -> None:
    hours = Hours()
    storm = Storm(Plan(rate=50, seconds=0.1), clock=hours, sleep=hours.sleep)
    logging.getLogger("rehearsal").setLevel(logging.ERROR)
    try:
        await storm.rage(lambda _at: None)
    finally:
        logging.getLogger("rehearsal").setLevel(logging.NOTSET)

    assert set(storm.offered) == {"ERROR"}


def test_a_mail_names_its_kinds_by_number() -> None:
    assert kinds_in("x.Rehearsed1: rehearsed failure 1\nAlso:\n3 new: rehearsed failure 12") == {1, 12}


def test_every_error_of_the_storm_is_written_grouped_and_mailed(stage: Stage, tmp_path: Path) -> None:
    begun = time.monotonic()
    done = rehearse(stage, Plan(rate=200, distinct=4, seconds=0.3))

    errors = done.offered["ERROR"]
    assert 4 <= errors <= 60
    assert (done.refused, done.accepted) == ({}, {"INFO": errors, "ERROR": errors})
    assert (done.grouped, done.counted, done.held, done.waiting) == (errors, errors, 0, 0)
    assert done.mails >= 1
    assert done.tries == done.mails
    assert done.kinds_in_time == 4
    assert 0 < done.high_water < done.size
    assert [at for at, _ in done.depths] == sorted(at for at, _ in done.depths)
    for found in (done.call, done.to_file, done.to_mail):
        assert found is not None
        assert 0 < found.median_ms <= found.p99_ms < (time.monotonic() - begun) * 1000
    assert list(tmp_path.iterdir()) == []


def test_a_queue_that_is_too_small_refuses_and_a_better_size_is_named(stage: Stage) -> None:
    stage = replace(stage, queue=QueueOptions(size=2))

    done = rehearse(stage, Plan(rate=20_000, distinct=1, seconds=0.3))

    assert done.refused["INFO"] > 0
    assert done.high_water >= 1
    assert done.accepted["ERROR"] == done.grouped == done.counted
    size = next(
        found for found in suggestions(done, stage.queue, stage.mail, stage.mailing) if found.key == "queue_size"
    )
    assert size.value > sum(done.refused.values())


def test_a_mail_server_that_is_away_delays_mail_and_loses_none(
    stage: Stage, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, failed = threading.Event(), Sending.failed

    def note_the_try(*arguments: Any, **more: Any) -> bool:
        noted = failed(*arguments, **more)
        tried.set()
        return noted

    async def away_until_tried(seconds: float) -> None:
        await asyncio.sleep(seconds)
        # However slow this machine is, one try comes too early.
        await asyncio.to_thread(tried.wait, 60)

    monkeypatch.setattr(Sending, "failed", note_the_try)
    monkeypatch.setattr(rehearsal, "RehearsalServer", functools.partial(RehearsalServer, sleep=away_until_tried))

    done = rehearse(stage, Plan(rate=50, distinct=1, seconds=0.2, smtp_down=0.8))

    assert done.to_mail is not None
    assert done.to_mail.median_ms >= 750
    assert done.tries > done.mails
    assert (done.counted, done.waiting, done.dead) == (done.accepted["ERROR"], 0, 0)
    assert "refused the connection" in capfd.readouterr().err


def test_the_cap_holds_errors_back_and_a_better_one_is_named(stage: Stage) -> None:
    mailing = replace(QUICK, mails_per_hour=1, readers=(Reader(("grace@example.org",)),))

    done = rehearse(replace(stage, mailing=mailing), Plan(rate=50, distinct=1, seconds=1.0))

    assert done.mails == 1
    assert done.held > 0
    assert done.counted + done.held == done.accepted["ERROR"]
    assert [found.key for found in suggestions(done, stage.queue, stage.mail, mailing)] == ["mails_per_hour"]


def test_a_shorter_window_mails_more_while_it_fails(stage: Stage) -> None:
    plan = Plan(rate=20, distinct=1, seconds=2.0)
    rare = rehearse(replace(stage, mailing=replace(QUICK, window_seconds=60.0)), plan)
    often = rehearse(replace(stage, mailing=replace(QUICK, window_seconds=0.2)), plan)

    assert often.in_time > rare.in_time
    assert often.mails >= often.in_time


def test_settings_that_cope_get_no_suggestion(suggest: Callable[..., list[Suggestion]]) -> None:
    assert suggest() == []


def test_a_queue_that_was_more_than_half_full_is_to_grow(suggest: Callable[..., list[Suggestion]]) -> None:
    [found] = suggest(high_water=6000)

    assert found[:3] == ("delivery", "queue_size", 20_000)
    assert "60%" in found.why


def test_a_storm_that_outruns_the_file_is_reported_as_one(suggest: Callable[..., list[Suggestion]]) -> None:
    offered = {"INFO": 50_000, "ERROR": 50_000}
    [found] = suggest(offered=offered, refused={"INFO": 40_000}, high_water=10_000, drained=10.0)

    assert found[:3] == ("delivery", "queue_size", 100_000)
    assert "the listener writes at most 6000 records/s" in found.why


def test_a_short_burst_is_refused_without_outrunning_the_file(suggest: Callable[..., list[Suggestion]]) -> None:
    [found] = suggest(refused={"INFO": 10}, high_water=10_000)

    assert found[:3] == ("delivery", "queue_size", 20_000)
    assert found.why == "the full queue refused 10 records"


def test_no_queue_longer_than_allowed_is_suggested(suggest: Callable[..., list[Suggestion]]) -> None:
    [found] = suggest(refused={"INFO": 9_000_000})

    assert found.value == 1_000_000


def test_a_server_slower_than_the_timeout_needs_a_longer_one(suggest: Callable[..., list[Suggestion]]) -> None:
    [found] = suggest(plan=Plan(rate=1, smtp_delay=25.0))

    assert found[:3] == ("mail", "timeout", 50)


def test_a_server_slower_than_the_batches_needs_rarer_ones(suggest: Callable[..., list[Suggestion]]) -> None:
    [found] = suggest(plan=Plan(rate=1, smtp_delay=6.0))

    assert found[:3] == ("delivery", "batch_seconds", 12)


def test_mail_given_up_while_the_server_was_away_needs_more_patience(suggest: Callable[..., list[Suggestion]]) -> None:
    [found] = suggest(plan=Plan(rate=1, smtp_down=60.0), dead=1, mailing=MailingOptions(retry_for=30.0))

    assert found[:3] == ("delivery", "retry_for", 600)


def test_what_is_at_risk_is_what_was_accepted_in_the_last_tenth_of_a_second(rehearsed: Rehearsed) -> None:
    assert rehearsed.at_risk == 20
    assert replace(rehearsed, to_file=Percentiles(100.0, 1000.0)).at_risk == 200


def test_the_last_failure_ends_the_storm_and_not_its_rate(rehearsed: Rehearsed) -> None:
    assert replace(rehearsed, lasted=4.9).failures_per_second == 100
    assert replace(rehearsed, lasted=10.0).failures_per_second == 50


def test_the_highest_number_of_each_slice_is_kept() -> None:
    peaks = Peaks(1.0)
    for at, number in ((0.0, 3), (0.4, 9), (0.9, 1), (1.0, 2), (5.0, 4)):
        peaks.note(at, number)

    assert peaks.samples == [(0.0, 9), (1.0, 2), (5.0, 4)]
