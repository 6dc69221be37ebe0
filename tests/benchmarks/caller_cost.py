"""What one ERROR with a 30-frame traceback costs: the thread that logs it, and the thread that writes it.

Run it from the checkout: `python -m tests.benchmarks.caller_cost`. Each figure is the median of several
rounds; the standard library's handlers run beside ours in the same rounds.
"""

from __future__ import annotations

import logging
import logging.handlers
import statistics
import sys
import tempfile
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from quartblog.delivery.files import RotatingFile
from quartblog.delivery.options import FileOptions, QueueOptions
from quartblog.delivery.queue import BoundedQueueHandler

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = 30
ROUNDS = 7
RECORDS = 300
ROTATE_AT = 10_000_000


class Row(NamedTuple):
    """One line of the table; times in microseconds."""

    figure: str
    peer: float
    ours: float
    wanted: float

    @property
    def ratio(self) -> float:
        """How many times cheaper ours is."""
        return self.peer / self.ours


def fail(frames: int) -> float:
    """Raise ZeroDivisionError below this many frames."""
    if frames > 1:
        return fail(frames - 1) + len(str(frames))
    return 1 / (frames - 1)


def walk(frames: int) -> float:
    """As `fail`, in alternating functions, so that no line repeats often enough to be folded."""
    if frames > 1:
        return step(frames - 1) * 2
    return fail(1)


def step(frames: int) -> float:
    """The other half of `walk`."""
    if frames > 1:
        return walk(frames - 1) + 1
    return fail(1)


def failure() -> BaseException:
    """An exception whose traceback has FRAMES frames."""
    try:
        walk(FRAMES - 2)
    except ZeroDivisionError as error:
        return error
    raise AssertionError("dividing by zero has worked")


def per_record(action: Callable[[], object]) -> float:
    """Microseconds one call of `action` takes, over RECORDS calls."""
    started = time.perf_counter()
    for _ in range(RECORDS):
        action()
    return (time.perf_counter() - started) / RECORDS * 1e6


def logger_with(handler: logging.Handler, name: str) -> logging.Logger:
    """A logger with this handler alone."""
    logger = logging.getLogger(f"tests.benchmarks.{name}")
    logger.propagate = False
    logger.addHandler(handler)
    return logger


def caller_row(error: BaseException) -> Row:
    """Logging an exception: what the caller pays until logger.error returns."""
    standard = logger_with(logging.handlers.QueueHandler(SimpleQueue()), "standard")
    handler = BoundedQueueHandler(
        QueueOptions(size=ROUNDS * RECORDS + 1),
        lambda: {"error_id": "0" * 12, "method": "GET", "route": "/", "user_id": 1},
    )
    queued = logger_with(handler, "ours")
    peer, ours = [], []
    for _ in range(ROUNDS):
        peer.append(per_record(lambda: standard.error("It failed: %s", "why", exc_info=error)))
        ours.append(per_record(lambda: queued.error("It failed: %s", "why", exc_info=error)))
    assert not handler.refused()
    return Row(
        "one ERROR on the caller, against QueueHandler",
        statistics.median(peer),
        statistics.median(ours),
        30,
    )


def file_row(error: BaseException, folder: Path) -> Row:
    """Writing the same exception again and again, to the last byte of the file."""
    plain, shared = folder / "standard.log", folder / "ours.log"
    standard = logging.handlers.RotatingFileHandler(plain, maxBytes=ROTATE_AT, backupCount=2, encoding="utf-8")
    line = "%(asctime)s %(levelname)s: %(message)s [in %(pathname)s:%(lineno)d]"
    standard.setFormatter(logging.Formatter(line))
    rotating = RotatingFile(FileOptions(path=shared, max_bytes=ROTATE_AT, backup_count=2))
    record = logging.LogRecord(
        "app", logging.ERROR, __file__, 1, "It failed", None, (type(error), error, error.__traceback__)
    )
    peer, ours = [], []
    for _ in range(ROUNDS):
        peer.append(per_record(lambda: standard.handle(fresh(record))))
        ours.append(per_record(lambda: rotating.handle(fresh(record))))
    standard.close()
    rotating.close()
    assert plain.read_bytes() == shared.read_bytes(), "the two files differ"
    return Row(
        "writing it to the file, against RotatingFileHandler",
        statistics.median(peer),
        statistics.median(ours),
        10,
    )


def fresh(record: logging.LogRecord) -> logging.LogRecord:
    """The record as if it were new: the standard formatter keeps its text on it."""
    return logging.makeLogRecord(record.__dict__)


def main() -> int:
    """Print the table; the exit status says whether every figure is what it must be."""
    error = failure()
    with tempfile.TemporaryDirectory() as folder:
        rows = [caller_row(error), file_row(error, Path(folder))]
    print(f"Python {sys.version.split()[0]}, {FRAMES} frames, median of {ROUNDS} x {RECORDS}")
    print(f"{'figure':<54}{'standard':>12}{'ours':>12}{'ratio':>8}{'wanted':>8}")
    for row in rows:
        print(f"{row.figure:<54}{row.peer:>9.1f} µs{row.ours:>9.1f} µs{row.ratio:>8.1f}{row.wanted:>8.0f}")
    return 0 if all(row.ratio >= row.wanted for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
