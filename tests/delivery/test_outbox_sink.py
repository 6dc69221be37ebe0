"""What of the log reaches the outbox, and how soon."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery.capture import outbox_sink
from quartblog.delivery.capture.listener import Listener
from quartblog.delivery.capture.outbox_sink import StoreSink
from quartblog.delivery.store.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator


def record(text: str = "it failed", **attributes: Any) -> logging.LogRecord:
    made = logging.LogRecord("app", logging.ERROR, "/srv/app.py", 12, text, None, None)
    made.__dict__.update(attributes)
    return made


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    box = Outbox(None)
    yield box
    box.close()


@pytest.fixture
def batches(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records came with each transaction."""
    sizes: list[int] = []
    real = outbox.record

    def counting(events: Any) -> None:
        sizes.append(len(events))
        real(events)

    monkeypatch.setattr(outbox, "record", counting)
    return sizes


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({"name": "quartblog.delivery"}, 0),
        ({"name": "quartblog.delivery.mailer"}, 0),
        ({"threadName": "quartblog.delivery-mailer"}, 0),
        ({"name": "quartblog.delivery_of_bread"}, 1),
        ({}, 1),
    ],
)
def test_the_deliverys_own_records_are_never_mailed(outbox: Outbox, attributes: dict[str, str], kept: int) -> None:
    sink = StoreSink(outbox)
    sink.handle(record(**attributes))
    sink.flush()

    assert len(outbox.unreported()) == kept


def test_only_errors_are_meant(outbox: Outbox) -> None:
    assert StoreSink(outbox).level == logging.ERROR


def test_a_storm_is_few_transactions_and_every_error_counts(outbox: Outbox, batches: list[int]) -> None:
    records: SimpleQueue[Any] = SimpleQueue()
    sink = StoreSink(outbox)
    for number in range(1_000):
        records.put(record(f"number {number} failed"))
    listener = Listener(records, [sink], on_pause=sink.flush)
    listener.start()
    assert listener.drain()

    assert [group.count for group in outbox.unreported()] == [1_000]
    assert sum(batches) == 1_000
    assert len(batches) < 100
    listener.stop()


def test_an_error_is_stored_though_the_queue_is_never_empty(outbox: Outbox, batches: list[int]) -> None:
    records: SimpleQueue[Any] = SimpleQueue()
    sink = StoreSink(outbox)
    stored, given_up = threading.Event(), threading.Event()

    def flush() -> None:
        sink.flush()
        if batches:
            stored.set()

    def goes_on() -> logging.LogRecord | None:
        # One more record before each is done: nothing ever waits for the listener.
        if not stored.is_set() and not given_up.is_set():
            records.put(record("news", levelno=logging.INFO))
        return None

    listener = Listener(records, [sink], on_pause=flush, on_taken=goes_on)
    records.put(record())
    records.put(record("news", levelno=logging.INFO))
    listener.start()

    was_stored = stored.wait(5)
    given_up.set()
    assert listener.stop()
    assert was_stored
    assert batches == [1]


def test_stop_stores_what_came_last(outbox: Outbox) -> None:
    records: SimpleQueue[Any] = SimpleQueue()
    sink = StoreSink(outbox)
    listener = Listener(records, [sink], on_pause=sink.flush)
    listener.start()
    records.put(record())
    assert listener.stop()

    assert [group.count for group in outbox.unreported()] == [1]


def test_without_errors_nothing_is_written(outbox: Outbox, batches: list[int]) -> None:
    StoreSink(outbox).flush()

    assert batches == []


def test_a_change_does_not_wait_for_ever_for_an_outbox_that_hangs(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sink, "CHANGING", 0.05)
    entered, drop_frames = threading.Event(), threading.Event()
    hanging = Outbox(None)

    def hang(_: Any) -> None:
        entered.set()
        assert drop_frames.wait(30)

    monkeypatch.setattr(hanging, "record", hang)
    sink = StoreSink(hanging)
    sink.flusher.start()
    sink.handle(record())
    sink.flusher.ring()
    assert entered.wait(5)
    sink.handle(record("waits"))
    changing = threading.Thread(target=sink.change, args=(outbox, 3))
    changing.start()
    changing.join(10)
    waits = changing.is_alive()
    drop_frames.set()

    assert not waits
    assert sink.flusher.stop(5)
    assert [group.count for group in outbox.unreported()] == [1]


def test_a_flush_that_is_under_way_during_a_change_ends_before_it(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, drop_frames = threading.Event(), threading.Event()
    before = Outbox(None)
    store = before.record

    def store_slowly(batch: Any) -> None:
        entered.set()
        assert drop_frames.wait(30)
        store(batch)

    monkeypatch.setattr(before, "record", store_slowly)
    sink = StoreSink(before)
    sink.flusher.start()
    sink.handle(record())
    sink.flusher.ring()
    assert entered.wait(5)
    threading.Timer(0.05, drop_frames.set).start()
    sink.change(outbox, 3)

    assert [group.count for group in before.unreported()] == [1]
    assert sink.flusher.stop(5)
    before.close()
