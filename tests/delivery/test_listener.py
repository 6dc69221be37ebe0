"""The thread that writes: no sink may end it, starve another or keep it from stopping."""

from __future__ import annotations

import logging
import signal
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery.capture.extra_sinks import ExtraSink
from quartblog.delivery.capture.listener import Listener
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Kept


def record(text: str, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("app", level, "a.py", 1, text, None, None)


class Raising(logging.Handler):
    """Fails for every record that says so."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def __repr__(self) -> str:
        return "<Raising>"

    def handle(self, record: logging.LogRecord) -> bool:
        if "bad" in record.getMessage():
            raise self.error
        return True


class Hanging(logging.Handler):
    """Holds every record until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.count = 0

    def __repr__(self) -> str:
        return "<Hanging>"

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        self.let_go.wait(30)
        self.count += 1


@pytest.fixture
def records() -> SimpleQueue[Any]:
    return SimpleQueue()


@pytest.fixture
def listen(records: SimpleQueue[Any]) -> Iterator[Callable[..., Listener]]:
    """Start a listener for these sinks; it is stopped at the end."""
    started: list[Listener] = []

    def start(*sinks: logging.Handler, **options: Any) -> Listener:
        listener = Listener(records, sinks, **options)
        listener.start()
        started.append(listener)
        return listener

    yield start
    for listener in started:
        listener.stop(5)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    sink = Hanging()
    yield sink
    sink.let_go.set()


def test_drain_returns_when_the_sinks_have_everything(
    records: SimpleQueue[Any], listen: Callable[..., Listener], kept: Kept
) -> None:
    listener = listen(kept)
    for number in range(100):
        records.put(record(str(number)))

    assert listener.drain()
    assert kept.messages == [str(number) for number in range(100)]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_a_sink_that_raises_stops_neither_the_thread_nor_the_others(
    records: SimpleQueue[Any],
    listen: Callable[..., Listener],
    kept: Kept,
    error: BaseException,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listener = listen(Raising(error), kept)
    for text in ("bad 1", "bad 2", "good", "bad 3"):
        records.put(record(text))

    assert listener.drain()
    assert listener.alive
    assert kept.messages == ["bad 1", "bad 2", "good", "bad 3"]
    # Once a burst: a success between two failures makes them two bursts.
    assert capsys.readouterr().err.count("the sink <Raising> failed") == 2


def test_a_sink_gets_only_its_level(records: SimpleQueue[Any], listen: Callable[..., Listener], kept: Kept) -> None:
    kept.setLevel(logging.ERROR)
    listener = listen(kept)
    records.put(record("news", logging.INFO))
    records.put(record("failed"))
    listener.drain()

    assert kept.messages == ["failed"]


def test_a_record_of_its_own_is_written_as_well(
    records: SimpleQueue[Any], listen: Callable[..., Listener], kept: Kept
) -> None:
    more = iter([record("report")])
    listener = listen(kept, on_taken=lambda: next(more, None))
    records.put(record("first"))
    records.put(record("second"))
    listener.drain()

    assert kept.messages == ["first", "report", "second"]


def test_stop_writes_the_queued_records_and_may_be_called_again(
    records: SimpleQueue[Any], listen: Callable[..., Listener], kept: Kept
) -> None:
    listener = listen(kept)
    for number in range(1_000):
        records.put(record(str(number)))

    assert listener.stop()
    assert listener.stop()
    assert len(kept.records) == 1_000
    assert not listener.alive
    assert listener.drain()


def test_a_record_behind_the_last_mark_is_still_written(
    records: SimpleQueue[Any], listen: Callable[..., Listener], kept: Kept, hanging: Hanging
) -> None:
    listener = listen(hanging, kept)
    records.put(record("first"))
    assert hanging.entered.wait(5)
    assert not listener.stop(0)
    records.put(record("late"))
    hanging.let_go.set()

    assert listener.stop()
    assert kept.messages == ["first", "late"]


def test_stop_ends_in_time_while_a_sink_hangs(
    records: SimpleQueue[Any], listen: Callable[..., Listener], hanging: Hanging
) -> None:
    listener = listen(hanging)
    records.put(record("first"))
    assert hanging.entered.wait(5)

    assert not listener.drain(0.01)
    assert not listener.stop(0.01)
    assert not listener.stop(0.01)


def test_a_sink_may_stop_its_own_listener(records: SimpleQueue[Any], listen: Callable[..., Listener]) -> None:
    answers: list[bool] = []

    class Stopping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            answers.extend((listener.drain(60), listener.stop(60)))

    listener = listen(Stopping())
    records.put(record("stop"))

    assert listener.stop(5)
    assert answers == [False, False]


def test_an_idle_listener_keeps_no_frames_alive(records: SimpleQueue[Any], listen: Callable[..., Listener]) -> None:
    gone = threading.Event()

    class Noticed(logging.LogRecord):
        def __del__(self) -> None:
            gone.set()

    listen()
    records.put(Noticed("app", logging.ERROR, "a.py", 1, "text", None, None))

    assert gone.wait(5)


class Noticing(logging.Handler):
    """Hands on the text of each record it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: SimpleQueue[str] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.put(record.getMessage())

    def next(self) -> str:
        return self.texts.get(timeout=5)


@pytest.fixture
def sink() -> Noticing:
    return Noticing()


@pytest.fixture
def napping(records: SimpleQueue[Any], listen: Callable[..., Listener], sink: Noticing) -> Iterator[Listener]:
    """A listener that has taken a record and would take the next one in a minute."""
    taken = threading.Event()
    listener = listen(sink, on_taken=taken.set, on_pause=lambda: None, pause=60.0)
    records.put(record("first"))
    # The thread's last step before it naps.
    assert taken.wait(5)
    assert sink.next() == "first"
    yield listener
    listener.hurry()


def test_a_hurry_ends_the_nap(records: SimpleQueue[Any], napping: Listener, sink: Noticing) -> None:
    records.put(record("second"))
    napping.hurry()

    assert sink.next() == "second"


@pytest.mark.parametrize("end", [Listener.drain, Listener.stop])
def test_neither_drain_nor_stop_waits_for_the_end_of_the_nap(
    records: SimpleQueue[Any], napping: Listener, sink: Noticing, end: Callable[[Listener, float], bool]
) -> None:
    records.put(record("second"))

    assert end(napping, 5)
    assert sink.next() == "second"


def test_a_nap_ends_by_itself_and_takes_what_came(
    records: SimpleQueue[Any], listen: Callable[..., Listener], sink: Noticing
) -> None:
    paused = threading.Event()
    taken = threading.Event()
    listen(sink, on_taken=taken.set, on_pause=paused.set)
    records.put(record("first"))
    assert taken.wait(5)
    records.put(record("second"))

    assert [sink.next(), sink.next()] == ["first", "second"]
    assert paused.wait(5)


def test_many_hurries_are_one(records: SimpleQueue[Any], sink: Noticing) -> None:
    turns: list[None] = []
    listener = Listener(records, [sink], on_taken=lambda: turns.append(None), on_pause=lambda: None, pause=60.0)
    for _ in range(100):
        listener.hurry()
    listener.start()
    records.put(record("first"))

    assert sink.next() == "first"
    assert listener.drain()
    # The record, the hurry, the mark of the drain and its own hurry.
    assert len(turns) <= 4
    assert listener.stop()


def test_a_hurry_in_the_middle_of_a_hurry_does_no_harm(
    records: SimpleQueue[Any], napping: Listener, sink: Noticing
) -> None:
    # No Event: its lock may be held by the very call that is interrupted.
    interruptions: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        interruptions.append(number)
        napping.hurry()

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(20_000):
            napping.hurry()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interruptions
    records.put(record("second"))
    napping.hurry()

    assert sink.next() == "second"
    assert napping.drain()


def test_without_anything_to_do_at_its_end_there_is_no_nap(
    records: SimpleQueue[Any], listen: Callable[..., Listener], sink: Noticing
) -> None:
    # A lane holds few records: a nap would let a storm pass by a sink that is quick enough.
    listen(sink)
    for number in range(20):
        records.put(record(str(number)))
        assert sink.next() == str(number)


@pytest.fixture
def lane_to(hanging: Hanging) -> Iterator[ExtraSink]:
    lane = ExtraSink(hanging, backlog=2)
    lane.start()
    yield lane
    hanging.let_go.set()
    lane.stop(5)


def test_a_sink_that_hangs_delays_no_other(
    records: SimpleQueue[Any],
    listen: Callable[..., Listener],
    kept: Kept,
    lane_to: ExtraSink,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hanging = lane_to.sink
    assert isinstance(hanging, Hanging)
    listener = listen(lane_to, kept)
    records.put(record("first"))
    assert hanging.entered.wait(5)
    for number in range(50):
        records.put(record(str(number)))

    assert listener.drain()
    assert len(kept.records) == 51
    assert lane_to.dropped == 48
    assert capsys.readouterr().err.count("is too slow: records are dropped for it") == 1
    hanging.let_go.set()
    assert lane_to.drain(5)
    assert hanging.count == 3


def test_a_sink_that_hangs_for_long_is_bypassed_until_it_returns(
    hanging: Hanging, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = ExtraSink(hanging, backlog=1_000_000, hanging=0.05)
    sink.start()
    sink.handle(record("first"))
    assert hanging.entered.wait(5)
    assert eventually(lambda: not sink.handle(record("dropped once it hangs")))
    assert "has not returned" in capsys.readouterr().err

    hanging.let_go.set()
    assert sink.drain(5)
    assert sink.handle(record("served again"))
    assert sink.stop(5)


def test_a_lane_left_behind_is_said_so(
    lane_to: ExtraSink, hanging: Hanging, capsys: pytest.CaptureFixture[str]
) -> None:
    lane_to.handle(record("first"))
    assert hanging.entered.wait(5)

    assert not lane_to.stop(0.01)
    assert "<Hanging> did not return in time" in capsys.readouterr().err


def test_a_thread_that_gets_the_ident_of_a_sink_left_behind_is_heard(kept: Kept, hanging: Hanging) -> None:
    left = ExtraSink(hanging)
    left.start()
    left.handle(record("first"))
    assert hanging.entered.wait(5)
    assert not left.stop(0.01)
    [thread] = [thread for thread in threading.enumerate() if "Hanging" in thread.name]
    ident = thread.ident
    hanging.let_go.set()
    thread.join(5)

    sink = ExtraSink(kept)
    sink.start()
    later = record("later")
    later.thread = ident
    sink.handle(later)

    assert sink.stop(5)
    assert kept.messages == ["later"]


def test_a_sink_that_raises_in_its_lane_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    lane = ExtraSink(Raising(ValueError("no")))
    lane.start()
    lane.handle(record("bad"))

    assert lane.stop(5)
    assert "the sink <Raising> failed, the other sinks go on: ValueError: no" in capsys.readouterr().err
    assert lane.dropped == 1


def test_what_waits_for_a_lane_left_behind_is_counted_and_does_not_come_later(
    hanging: Hanging, capsys: pytest.CaptureFixture[str]
) -> None:
    lane = ExtraSink(hanging)
    lane.start()
    for number in range(5):
        lane.handle(record(str(number)))
    assert hanging.entered.wait(5)
    [thread] = [thread for thread in threading.enumerate() if "Hanging" in thread.name]

    assert not lane.stop(0.01)
    assert "was left behind, with 4 records that wait for it" in capsys.readouterr().err
    hanging.let_go.set()
    thread.join(5)
    assert not thread.is_alive()
    assert hanging.count == 1
    assert lane.dropped == 4


def test_a_lane_follows_the_level_of_its_sink(kept: Kept) -> None:
    lane = ExtraSink(kept)
    lane.start()
    lane.handle(record("news", logging.INFO))
    kept.setLevel(logging.ERROR)
    lane.handle(record("more news", logging.INFO))

    assert lane.stop(5)
    assert kept.messages == ["news"]


def test_what_a_sink_logs_does_not_come_back_to_it() -> None:
    class Chatty(logging.Handler):
        count = 0

        def emit(self, record: logging.LogRecord) -> None:
            self.count += 1
            lane.handle(logging.LogRecord("x", logging.ERROR, "a.py", 1, "more", None, None))

    sink = Chatty()
    lane = ExtraSink(sink)
    lane.start()
    lane.handle(record("first"))

    assert lane.stop(5)
    assert sink.count == 1
