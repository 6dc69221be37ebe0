"""Many records at a time reach the file, and a disk that hangs holds nobody up."""

from __future__ import annotations

import logging
import re
import threading
from contextlib import closing
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Delivery, FileOptions, OutboxOptions, QueueOptions
from quartblog.delivery.capture import flusher, journal
from quartblog.delivery.capture.flusher import Flusher
from quartblog.delivery.capture.journal import FileSink
from quartblog.delivery.capture.log_file import RotatingFile
from quartblog.delivery.store.outbox import Outbox
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("app", logging.ERROR, "/srv/app.py", 12, text, None, None)


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


@pytest.fixture
def wait_no_longer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What is under way counts as hanging now, not after five seconds."""
    return lambda: monkeypatch.setattr(flusher, "HANGING", -1.0)


def test_a_batch_is_rotated_as_if_each_record_came_alone(tmp_path: Path) -> None:
    files = []
    for name in ("alone", "together"):
        path = tmp_path / name / "site.log"
        sink = RotatingFile(FileOptions(path=path, max_bytes=2_000, backup_count=50))
        sink.line = lambda record: record.getMessage()  # type: ignore[method-assign]  # no times, which differ
        lines = [f"{number} {'ä' * (number * 37 % 400)}" for number in range(300)]
        if name == "alone":
            for line in lines:
                sink.handle(record(line))
        else:
            assert sink.write(lines[:170]) == 170
            assert sink.write(lines[170:]) == 130
        sink.close()
        files.append({file.name: file.read_bytes() for file in path.parent.glob("site.log*")})

    assert files[0] == files[1]
    assert len(files[0]) > 20


def test_a_disk_that_is_full_in_the_middle_of_a_batch_keeps_what_was_written(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = RotatingFile(FileOptions(path=path))
    real = sink.do_write

    def full_after_two(msg: str) -> None:
        real("\n".join(msg.split("\n")[:2]) + "\nhalf")
        raise OSError("no space left")

    sink.do_write = full_after_two  # type: ignore[method-assign]  # a disk as it is
    written = sink.write(["one", "two", "three", "four"])
    sink.do_write = real  # type: ignore[method-assign]  # there is space again
    assert not sink.writable
    assert sink.write(["five"]) == 1

    assert written == 2
    assert path.read_text().splitlines()[-1] == "five"
    assert "2 records were lost" in capsys.readouterr().err
    sink.close()


def test_nothing_is_written_before_the_flush_and_all_of_it_then(path: Path) -> None:
    book = FileSink(RotatingFile(FileOptions(path=path)))
    for number in range(3):
        book.handle(record(str(number)))
    assert not path.exists()
    book.flush()

    assert messages(path) == ["0", "1", "2"]
    assert book.written == 3
    assert 0 <= book.latency.percentiles()["median_ms"] < 60_000
    book.file.close()


def test_a_fast_writer_waits_for_a_slow_disk_and_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "ROOM", 500)
    book = FileSink(RotatingFile(FileOptions(path=path, max_bytes=10_000_000)))
    book.flusher.start()
    most = 0
    for number in range(500):
        book.handle(record(str(number)))
        most = max(most, book._pages[-1]._size)
    assert book.flusher.stop(10)

    assert messages(path) == [str(number) for number in range(500)]
    assert most < 1_000
    assert book.lost == 0


def test_a_disk_that_hangs_is_passed_by_and_told(
    path: Path,
    gate: Gate,
    wait_no_longer: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(journal, "ROOM", 100)
    book = FileSink(RotatingFile(FileOptions(path=path)))
    gate.before(book.file)
    book.handle(record("first"))
    book.flusher.start()
    book.flusher.ring()
    assert gate.entered.wait(5)
    wait_no_longer()
    for number in range(50):
        book.handle(record(f"number {number}"))
    assert book.lost > 40
    assert capsys.readouterr().err.count("writing the log file has not returned") == 1

    monkeypatch.setattr(flusher, "HANGING", 60.0)
    gate.open.set()
    assert book.flusher.stop(10)
    assert len(messages(path)) == 51 - book.lost
    assert "writing the log file goes on" in capsys.readouterr().err


def test_a_log_file_that_hangs_keeps_neither_outbox_nor_stop_waiting(
    path: Path, tmp_path: Path, gate: Gate, wait_no_longer: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    delivery = Delivery(file=FileOptions(path=path), outbox=OutboxOptions(path=tmp_path / "outbox.sqlite3"))
    delivery.start()
    assert delivery._running is not None
    book = delivery._running.intake.journal
    gate.before(book.file)
    logging.getLogger("tests.delivery.app").error("the disk is gone")
    assert gate.entered.wait(5)
    # The file's thread may have the record before the outbox has: only the file is to hang.
    with closing(Outbox(tmp_path / "outbox.sqlite3")) as box:
        titles = eventually(lambda: [group.title for group in box.groups()])
    assert delivery._running.intake.errors.flusher.drain(5)
    wait_no_longer()
    assert not delivery.healthy
    # Patient enough for a busy machine: the hung file alone keeps both from being done.
    assert not delivery.drain(1)
    assert not delivery.stop(1)
    gate.open.set()
    book.flusher._thread.join(10)

    assert titles == ["the disk is gone"]
    assert "writing the log file did not return in time" in capsys.readouterr().err


@pytest.fixture
def left_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change waits for a moment only."""
    monkeypatch.setattr(journal, "CHANGING", 0.05)


@pytest.fixture
def held(path: Path, tmp_path: Path, gate: Gate, left_soon: None) -> Iterator[Delivery]:
    """A delivery whose file was changed while it held one record and did not return."""
    delivery = Delivery(file=FileOptions(path=path))
    delivery.start()
    gate.before(journal_of(delivery).file)
    logger = logging.getLogger("tests.delivery.app")
    logger.error("into the first file")
    assert gate.entered.wait(5)
    delivery.reconfigure(file=FileOptions(path=tmp_path / "other.log"))
    logger.error("into the other file")
    yield delivery
    delivery.stop(5)


def journal_of(delivery: Delivery) -> FileSink:
    assert delivery._running is not None
    return delivery._running.intake.journal


def test_the_next_record_is_in_the_changed_file_though_the_one_before_hangs(
    capsys: pytest.CaptureFixture[str], held: Delivery, path: Path, tmp_path: Path, gate: Gate
) -> None:
    book = journal_of(held)
    before = book._pages[0].flusher
    before._since = float("-inf")  # It has hung for long.

    assert held.drain(5)
    assert held.healthy
    assert messages(tmp_path / "other.log") == ["into the other file"]
    assert "writing the log file did not return in time and was left behind" in capsys.readouterr().err
    assert held.stop(5)

    gate.open.set()
    before._thread.join(10)
    assert messages(path) == ["into the first file"]
    assert f"INFO: The log goes on in {tmp_path / 'other.log'} [in " in path.read_text().splitlines()[-1]
    assert book.written == 5  # With three lines of the delivery's own.


def test_a_file_that_was_left_and_is_only_slow_is_waited_for(held: Delivery, path: Path, gate: Gate) -> None:
    assert not held.drain(0.05)
    gate.open.set()
    assert held.drain(5)

    assert messages(path) == ["into the first file"]


def test_who_waits_for_room_in_a_file_that_is_left_goes_on_in_the_next(
    path: Path, tmp_path: Path, gate: Gate, left_soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ROOM", 0)
    book = FileSink(RotatingFile(FileOptions(path=path)))
    before = book.flusher
    gate.before(book.file)
    before.start()
    before.ring()
    book.handle(record("first"))
    before.ring()
    assert gate.entered.wait(5)
    book.handle(record("second"))
    waiting = threading.Event()
    make_room = before.make_room

    def wait_for_room(enough: Callable[[], bool]) -> bool:
        waiting.set()
        return make_room(enough)

    monkeypatch.setattr(before, "make_room", wait_for_room)
    listener = threading.Thread(target=book.handle, args=(record("third"),))
    listener.start()
    assert waiting.wait(5)
    book.change(RotatingFile(FileOptions(path=tmp_path / "other.log", format="json")))
    listener.join(5)
    assert book.flusher.stop(5)
    gate.open.set()
    before._thread.join(10)

    assert messages(path) == ["first", "second"]
    assert '"message": "third"' in (tmp_path / "other.log").read_text()
    assert (book.written, book.lost) == (4, 0)


@pytest.mark.parametrize(
    "changes",
    [
        [{"path": "one/site.log"}, {"path": "two/site.log"}],
        [{"format": "text"}, {"format": "json"}],
        [{"max_bytes": 200_000}, {"max_bytes": 400_000}],
    ],
)
def test_every_record_is_in_exactly_one_file_however_often_that_changes(
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
        every = {"path": "site.log", "max_bytes": 10**9, "backup_count": 100, **change}
        return FileOptions(**{**every, "path": tmp_path / every["path"]})

    queue = QueueOptions(overflow="block", block_ms=30_000)
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
        figures = delivery.figures()

    written = "".join(file.read_text("utf-8") for file in tmp_path.rglob("site.log*"))
    found = re.findall(r"record (\d-\d+)\.", written)
    told = written.count("The log goes on in")
    assert told == (30 if "path" in changes[0] else 0)
    assert len(found) == sum(counts) == figures["written"] - 2 - told
    assert len(set(found)) == len(found)
    assert figures["file_lost"] == 0


def test_a_flush_that_fails_is_told_once_and_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
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
    thread.ring()
    assert gate.entered.wait(5)
    for _ in range(100):
        thread.ring()
    gate.open.set()
    assert thread.drain(5)

    assert len(flushes) <= 3
    assert thread.stop(5)


def test_what_does_not_run_needs_no_waiting_for() -> None:
    thread = Flusher(lambda: None, "the test")

    assert thread.drain(0)
    assert thread.stop(0)
    assert not thread.make_room(lambda: False)
