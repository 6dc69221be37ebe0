"""Many records at a time reach file and outbox, and a sink that hangs holds nobody up."""

from __future__ import annotations

import logging
import os
import re
import threading
from contextlib import closing
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Delivery, FileOptions, Outbox, OutboxOptions, QueueOptions
from quartblog.delivery.capture.listener import Listener
from quartblog.delivery.capture.sinks import FileSink, Flusher, StoreSink
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from quartblog.delivery.capture.log_file import RotatingFile


def record(text: str = "it failed", **attributes: Any) -> logging.LogRecord:
    made = logging.LogRecord("app", logging.ERROR, "/srv/app.py", 12, text, None, None)
    made.__dict__.update(attributes)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site.log"


def messages(path: Path) -> list[str]:
    return re.findall(r"ERROR: (.*?) \[in", path.read_text())


class Gate:
    """A disk that hangs until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def hold(self) -> None:
        self.entered.set()
        assert self.open.wait(30)

    def before(self, file: RotatingFile) -> None:
        """Let this file hang."""
        write = file.write

        def hang_and_write(texts: Sequence[str]) -> int:
            self.hold()
            return write(texts)

        file.write = hang_and_write  # type: ignore[method-assign]  # a disk as it is


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_nothing_is_written_before_the_flush_and_all_of_it_then(path: Path) -> None:
    sink = FileSink(FileOptions(path=path))
    for number in range(3):
        sink.handle(record(str(number)))
    assert not path.exists()
    sink.flush()

    assert messages(path) == ["0", "1", "2"]
    assert sink.written == 3
    latency = sink.latency.percentiles()
    assert latency is not None
    assert 0 <= latency.median_ms < 60_000
    sink.file.close()


def test_a_fast_writer_waits_for_a_slow_disk_and_loses_nothing(path: Path) -> None:
    sink = FileSink(FileOptions(path=path, max_bytes=10_000_000), backlog=500)
    sizes: list[int] = []
    write = sink.file.write

    def watched(texts: Sequence[str]) -> int:
        sizes.append(sum(map(len, texts)))
        return write(texts)

    sink.file.write = watched  # type: ignore[method-assign]  # a disk that is looked at
    sink.flusher.start()
    for number in range(500):
        sink.handle(record(str(number)))
    assert sink.flusher.stop(10)

    assert messages(path) == [str(number) for number in range(500)]
    assert max(sizes) < 1_000
    assert sink.lost == 0


def test_a_disk_that_hangs_loses_records_past_the_backlog_and_reports_them(
    path: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = FileSink(FileOptions(path=path), backlog=100, hanging=0.2)
    gate.before(sink.file)
    sink.handle(record("first"))
    sink.flusher.start()
    sink.flusher.wake()
    assert gate.entered.wait(5)
    assert eventually(lambda: sink.flusher.hangs)
    for number in range(50):
        sink.handle(record(f"number {number}"))
    assert sink.lost > 40
    assert not sink.healthy

    gate.open.set()
    assert eventually(lambda: sink.healthy)
    assert sink.flusher.stop(10)
    assert len(messages(path)) == 51 - sink.lost
    err = capsys.readouterr().err
    assert err.count("writing the log file has not returned for 0.2 s") == 1
    assert "writing the log file goes on" in err


def test_a_log_file_that_hangs_keeps_neither_outbox_nor_stop_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "site.log"
    # No process reads it, so opening it for writing waits.
    os.mkfifo(path)
    delivery = Delivery(file=FileOptions(path=path), outbox=OutboxOptions(path=tmp_path / "outbox.sqlite3"))
    delivery.start()
    logging.getLogger("tests.delivery.app").error("the disk is gone")
    with closing(Outbox(OutboxOptions(tmp_path / "outbox.sqlite3"))) as outbox:
        titles = eventually(lambda: [group.title for group in outbox.groups()])
    assert not delivery.drain(0.2)
    stopped = delivery.stop(1)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert eventually(lambda: not any(thread.name.endswith("the log file") for thread in threading.enumerate()))
    os.close(reader)

    assert not stopped
    assert titles == ["the disk is gone"]
    assert "writing the log file did not return in time" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        [{"compress": False}, {"compress": True}],
        [{"format": "text"}, {"format": "json"}],
        [{"max_bytes": 200_000}, {"max_bytes": 400_000}],
    ],
)
def test_every_record_is_written_once_however_often_the_options_change(
    tmp_path: Path, changes: list[dict[str, Any]]
) -> None:
    over = threading.Event()
    counts: list[int] = []

    def log(name: int) -> None:
        logger = logging.getLogger("tests.delivery.app")
        number = 0
        while not over.is_set() and number < 10_000:
            logger.info("record %d-%d.", name, number)
            number += 1
        counts.append(number)

    def options(change: dict[str, Any]) -> FileOptions:
        return FileOptions(**{"path": tmp_path / "site.log", "max_bytes": 10**9, "backup_count": 100, **change})

    # Room for every record: a full queue refuses them.
    queue = QueueOptions(size=100_000)
    with Delivery(queue=queue, file=options(changes[0])) as delivery:
        threads = [threading.Thread(target=log, args=(name,)) for name in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(30):
            delivery.reconfigure(queue=queue, file=options(changes[(turn + 1) % 2]))
        over.set()
        for thread in threads:
            thread.join()
        assert delivery.drain(30)
        figures = delivery.statistics()

    written = "".join(file.read_text("utf-8") for file in tmp_path.rglob("site.log*"))
    found = re.findall(r"record (\d-\d+)\.", written)
    assert len(found) == sum(counts) == figures.written - 2
    assert len(set(found)) == len(found)
    assert figures.file_lost == 0


def test_a_flush_that_fails_is_reported_once_and_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    calls: SimpleQueue[int] = SimpleQueue()

    def fail() -> None:
        calls.put(1)
        if calls.qsize() < 3:
            raise SystemExit("no")

    thread = Flusher(fail, "the test")
    thread.start()
    for _ in range(3):
        assert thread.drain(5)
    assert thread.stop(5)
    assert thread.stop(5)

    assert calls.qsize() == 4  # The last one at the stop.
    assert capsys.readouterr().err.count("writing the test failed") == 1


def test_rings_during_a_flush_are_one_more_flush(gate: Gate) -> None:
    flushes: list[int] = []

    def flush() -> None:
        flushes.append(1)
        if len(flushes) == 1:
            gate.hold()

    thread = Flusher(flush, "the test")
    thread.start()
    thread.wake()
    assert gate.entered.wait(5)
    for _ in range(100):
        thread.wake()
    gate.open.set()
    assert thread.drain(5)

    assert len(flushes) <= 3
    assert thread.stop(5)


def test_what_does_not_run_needs_no_waiting_for() -> None:
    thread = Flusher(lambda: None, "the test")

    assert thread.drain(0)
    assert thread.stop(0)
    assert not thread.make_room(lambda: False)


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


class Changing(logging.Handler):
    """Colours what it prints, in the record itself, as some formatters do."""

    def emit(self, record: logging.LogRecord) -> None:
        record.msg = record.message = f"\x1b[31m{record.getMessage()}\x1b[0m"
        record.exc_text = "coloured"


class Chatty(logging.Handler):
    """Logs each record that it gets, as a library below it may do."""

    def __init__(self) -> None:
        super().__init__()
        self.got = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.got += 1
        logging.getLogger("library").warning("sent %s", record.getMessage())


def test_a_handler_that_changes_a_record_changes_it_for_nobody_else(tmp_path: Path) -> None:
    seen: list[str] = []
    keeping = logging.Handler()
    keeping.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    options = {"file": FileOptions(path=tmp_path / "site.log"), "outbox": OutboxOptions(tmp_path / "outbox.sqlite3")}
    with Delivery(**options, extra_sinks=[Changing(), keeping, Changing()]) as delivery:  # type: ignore[arg-type]
        for number in range(50):
            logging.getLogger("app").error("payment %d failed", number)
        assert delivery.drain()
        assert delivery.outbox is not None
        [group] = delivery.outbox.groups(samples=10)

    assert [text for text in seen if "payment" in text] == [f"payment {number} failed" for number in range(50)]
    assert all("\x1b" not in sample.message for sample in group.samples)
    assert "\x1b" not in (tmp_path / "site.log").read_text()


def test_handlers_that_log_do_not_feed_each_other(tmp_path: Path) -> None:
    first, second = Chatty(), Chatty()
    with Delivery(file=FileOptions(path=tmp_path / "site.log"), extra_sinks=[first, second]) as delivery:
        logging.getLogger("app").error("it failed")
        for _ in range(5):
            assert delivery.drain()

    text = (tmp_path / "site.log").read_text()
    assert text.count("sent it failed") == 2
    assert "sent sent" not in text
    assert first.got == second.got < 5


class Looking(logging.Handler):
    """Notes whether a record still has its exception, and what it shows of it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[tuple[bool, bool]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append((bool(record.exc_info), "ValueError" in (record.exc_text or "")))


class WithoutFrames(Looking):
    frames = False


@pytest.mark.parametrize("kind", [Looking, WithoutFrames])
def test_a_handler_may_do_without_frames_which_keep_all_variables_alive(tmp_path: Path, kind: type[Looking]) -> None:
    sink = kind()
    with Delivery(file=FileOptions(path=tmp_path / "site.log"), extra_sinks=[sink]) as delivery:
        try:
            int("twelve")
        except ValueError:
            logging.getLogger("app").exception("it failed")
        assert delivery.drain()

    assert sink.seen == [(kind is Looking, True)]
