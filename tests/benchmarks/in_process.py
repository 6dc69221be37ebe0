"""What one ERROR with a 30-frame traceback costs: the thread that logs it, and the thread that writes it."""

from __future__ import annotations

import logging
import logging.handlers
import statistics
import tempfile
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from quartblog.delivery.capture.handler import BoundedQueueHandler
from quartblog.delivery.capture.sinks import FileSink
from quartblog.delivery.context import scope
from quartblog.delivery.options import FileOptions, QueueOptions
from quartblog.delivery.text.exc_info import drop_frames
from tests.benchmarks.failures import FRAMES, failure
from tests.benchmarks.sites import mail_server
from tests.benchmarks.table import Row, median_ratio, significant

if TYPE_CHECKING:
    from collections.abc import Callable

# The file is not rotated within a run: two files that hold everything can be compared byte by byte.
ROTATE_AT = 1_000_000_000
LINE = "%(asctime)s %(levelname)s: %(message)s [in %(pathname)s:%(lineno)d]"


class Mailing(logging.handlers.SMTPHandler):
    """The standard one, except that a mail it cannot send ends the benchmark: refused mails are quick."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Raise what happened."""
        raise  # noqa: PLE0704  called while the error is handled


def caller_row(runs: int, records: int) -> Row:
    """Against the standard QueueHandler; nobody reads either queue meanwhile.

    Printed as well: what the same thread pays once the piece of work has ended, after the answer.
    """
    queue: SimpleQueue[Any] = SimpleQueue()
    standard, ours = logger_with(logging.handlers.QueueHandler(queue), "standard"), our_logger(records)
    error = failure()
    pairs: list[tuple[float, float]] = []
    ends: list[float] = []
    with scope("GET", "/user/info/<username>"):
        for _ in range(runs):
            peer = per_record(lambda: standard.error("It failed: %s", "why", exc_info=error), records)
            taken(queue)
            pairs.append((per_record(lambda: ours.error("It failed: %s", "why", exc_info=error), records), peer))
            ends.append(per_item(lambda each: drop_frames(each, at_any_cost=False), taken(our_queue(ours))))
    print(f"caller: {significant(statistics.median(ends))} µs more at the end of its piece of work")
    return times_row("caller", f"one ERROR, {FRAMES} frames, on the caller: QueueHandler", pairs, 30)


def smtp_row(runs: int, records: int) -> Row:
    """Against the standard SMTPHandler to a local server that acknowledges at once."""
    ours = our_logger(records)
    error = failure()
    pairs: list[tuple[float, float]] = []
    with mail_server(delay=0) as port, scope("GET", "/user/info/<username>"):
        mailing = Mailing(("127.0.0.1", port), "blog@example.org", ["ada@example.org"], "It failed")
        standard = logger_with(mailing, "mailing")
        for _ in range(runs):
            peer = per_record(lambda: standard.error("It failed: %s", "why", exc_info=error), max(1, records // 10))
            pairs.append((per_record(lambda: ours.error("It failed: %s", "why", exc_info=error), records), peer))
            taken(our_queue(ours))
    return times_row("smtp", "the same: SMTPHandler to a local server", pairs, 300)


def file_row(runs: int, records: int) -> Row:
    """Against the standard RotatingFileHandler: the same failure again and again, each time raised anew."""
    with tempfile.TemporaryDirectory() as folder:
        plain, shared = Path(folder, "standard.log"), Path(folder, "ours.log")
        standard = logging.handlers.RotatingFileHandler(plain, maxBytes=ROTATE_AT, backupCount=2, encoding="utf-8")
        standard.setFormatter(logging.Formatter(LINE))
        sink = FileSink(FileOptions(path=shared, max_bytes=ROTATE_AT, backup_count=2))
        sink.flusher.start()
        pairs: list[tuple[float, float]] = []
        for _ in range(runs):
            failed = [record_of(failure()) for _ in range(records)]
            # The standard formatter keeps its text on the record: each handler gets its own.
            again = [logging.makeLogRecord(record.__dict__) for record in failed]
            peer = 1e6 / per_item(standard.handle, failed)
            pairs.append((1e6 / per_item(sink.handle, again, lambda: sink.flusher.drain(60)), peer))
        assert not sink.lost
        sink.flusher.stop(60)
        standard.close()
        sink.file.close()
        same = plain.read_bytes() == shared.read_bytes()
    ours, peers = zip(*pairs, strict=True)
    ratio = median_ratio(ours, peers)
    return Row(
        "file",
        "the same failure to the file: RotatingFileHandler",
        f"{significant(statistics.median(ours))}/s",
        f"{significant(statistics.median(peers))}/s",
        significant(ratio),
        ">= 10, same bytes",
        same and ratio >= 10,
    )


def times_row(name: str, figure: str, pairs: list[tuple[float, float]], wanted: float) -> Row:
    """A row of (ours, peer) microseconds."""
    ours, peers = zip(*pairs, strict=True)
    ratio = median_ratio(peers, ours)
    return Row(
        name,
        figure,
        f"{significant(statistics.median(ours))} µs",
        f"{significant(statistics.median(peers))} µs",
        significant(ratio),
        f">= {wanted:g}",
        ratio >= wanted,
    )


def logger_with(handler: logging.Handler, name: str) -> logging.Logger:
    """A logger with this handler alone."""
    logger = logging.getLogger(f"tests.benchmarks.{name}")
    logger.propagate = False
    logger.handlers = [handler]
    return logger


def our_logger(records: int) -> logging.Logger:
    """A logger whose records are queued."""
    size = max(QueueOptions().size, records + 1)
    return logger_with(BoundedQueueHandler(QueueOptions(size=size)), "ours")


def our_queue(logger: logging.Logger) -> SimpleQueue[Any]:
    """What waits for a listener."""
    (handler,) = logger.handlers
    assert isinstance(handler, BoundedQueueHandler)
    assert not handler.refused(), "a refused record costs less than a queued one"
    return handler.records


def taken(queue: SimpleQueue[Any]) -> list[Any]:
    """All that waits."""
    return [queue.get_nowait() for _ in range(queue.qsize())]


def record_of(error: BaseException) -> logging.LogRecord:
    """The record of a failure."""
    about = (type(error), error, error.__traceback__)
    return logging.LogRecord("app", logging.ERROR, __file__, 1, "It failed", None, about)


def per_record(action: Callable[[], object], records: int) -> float:
    """Microseconds one call takes."""
    started = time.perf_counter()
    for _ in range(records):
        action()
    return (time.perf_counter() - started) / records * 1e6


def per_item(
    action: Callable[[logging.LogRecord], object],
    records: list[logging.LogRecord],
    finish: Callable[[], object] = lambda: None,
) -> float:
    """Microseconds one record takes; `finish` is called after the last one, and counts."""
    started = time.perf_counter()
    for record in records:
        action(record)
    finish()
    return (time.perf_counter() - started) / len(records) * 1e6
