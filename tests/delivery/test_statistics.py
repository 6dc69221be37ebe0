"""Counts and latencies of the delivery itself."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from quartblog.delivery import Delivery, FileOptions, OutboxOptions, QueueOptions
from quartblog.delivery.statistics import MINUTES, SAMPLES, HourOfLatency, Latency, Percentiles, Statistics
from quartblog.delivery.store.heartbeats import Heartbeats
from quartblog.delivery.store.outbox import Outbox
from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from quartblog.delivery import MailOptions


def test_percentiles_are_of_the_newest_durations_in_milliseconds() -> None:
    latency = Latency()
    latency.note(1_000.0)
    for number in range(SAMPLES):
        latency.note(number / 1_000)

    assert latency.percentiles() == Percentiles(median_ms=512.0, p99_ms=1013.0)


def test_without_a_duration_there_are_no_percentiles() -> None:
    assert Latency().percentiles() is None


def test_one_duration_is_every_percentile() -> None:
    latency = Latency()
    latency.note(0.25)

    assert latency.percentiles() == Percentiles(median_ms=250.0, p99_ms=250.0)


def test_the_statistics_cover_the_whole_way_of_the_records(
    tmp_path: Path, accepting_server: MailServer, mail_to: Callable[..., MailOptions], app_logger: logging.Logger
) -> None:
    with Delivery(
        queue=QueueOptions(size=1_000),
        file=FileOptions(path=tmp_path / "site.log"),
        outbox=OutboxOptions(path=tmp_path / "outbox"),
        mail=mail_to(accepting_server),
    ) as delivery:
        for _ in range(100):
            app_logger.error("failed")
        app_logger.info("news")
        assert delivery.drain(mail=True)
        figures = delivery.statistics()

    # The mail server of this test logs as well, from a thread of its own.
    assert figures.accepted >= figures.written >= 101
    assert figures.grouped == 100
    assert figures.mailed >= 1
    assert (figures.retried, figures.dead, figures.refused, figures.file_lost) == (0, 0, {}, 0)
    assert figures.limit == 1_000
    assert 1 <= figures.high_water <= figures.accepted
    for way in (figures.enqueue, figures.to_file, figures.to_mail):
        assert way is not None
        assert 0 <= way.median_ms <= way.p99_ms < 60_000


def test_the_heartbeat_stores_the_statistics_for_everybody_on_the_host(
    tmp_path: Path, app_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    beaten, beat_really = threading.Event(), Heartbeats.beat

    def beat(*arguments: Any, **more: Any) -> None:
        beat_really(*arguments, **more)
        beaten.set()

    monkeypatch.setattr(Heartbeats, "beat", beat)
    with Delivery(
        file=FileOptions(path=tmp_path / "site.log"), outbox=OutboxOptions(path=tmp_path / "outbox")
    ) as delivery:
        app_logger.error("failed")
        assert delivery.drain()
        names = set(delivery.statistics().as_dict())
        assert beaten.wait(10)
        box = Outbox(OutboxOptions(tmp_path / "outbox"))
        [worker] = box.workers()
        box.close()

    assert set(worker.figures) == names
    assert worker.figures["limit"] == 10_000


def test_a_delivery_that_does_not_run_has_counted_nothing() -> None:
    assert Delivery().statistics() == Statistics()


def test_percentiles_are_kept_for_each_minute_of_the_last_hour() -> None:
    clock = [0.0]
    latency = HourOfLatency(lambda: clock[0])
    latency.note(0.001)
    clock[0] = 59.9
    latency.note(0.003)
    clock[0] = 150.0
    latency.note(0.005)

    assert len(latency.minutes()) == MINUTES
    assert latency.minutes()[-3:] == (Percentiles(3.0, 3.0), None, Percentiles(5.0, 5.0))
    clock[0] = 170.0
    assert latency.minutes()[-1] == Percentiles(5.0, 5.0)
    clock[0] = 60.0 * (MINUTES + 1)
    assert latency.minutes()[0] == Percentiles(5.0, 5.0)


def test_a_minute_without_a_duration_is_none_however_long_ago_the_last_one_was() -> None:
    clock = [0.0]
    latency = HourOfLatency(lambda: clock[0])
    latency.note(0.001)
    clock[0] = 3_600.0

    assert latency.minutes() == (None,) * MINUTES
    latency.note(0.002)
    assert latency.minutes() == (None,) * (MINUTES - 1) + (Percentiles(2.0, 2.0),)
