"""A mail server that is down, and a million errors: what the process holds on to.

Run by tests.benchmarks.delivery in a process of its own, whose resident memory is then the delivery's alone.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from quartblog.delivery import Delivery, FileOptions, MailOptions, Outbox, OutboxOptions, QueueOptions
from tests.benchmarks.failures import failure
from tests.benchmarks.table import Row, significant
from tests.support.processes import ROOT, environment

FEW, MANY = 200_000, 1_000_000
ALLOWED = 30.0
PART = 5_000
"""Errors that are logged between two waits for the listener."""
WARM_UP = 20_000
"""Errors that are logged before the first look: every cache has seen their tracebacks."""
DEPTHS = range(10, 40)
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

logger = logging.getLogger("tests.benchmarks.memory")


def memory_row(runs: int, few: int, many: int) -> Row:
    """Several runs of a few errors, and one of many: what grows for ever would grow in that one."""
    several, long = [run(few) for _ in range(runs)], run(many)
    grown = statistics.median(one["grown"] for one in several)
    speed = statistics.median(one["per_second"] for one in several)
    return Row(
        "memory",
        f"memory grown by {many:,} errors, mail server down: median of {runs} times {few:,}, {speed:,.0f} accepted/s",
        f"{significant(long['grown'])} MB",
        f"{significant(grown)} MB",
        "",
        f"<= {ALLOWED:g} MB each",
        max(long["grown"], grown) <= ALLOWED,
    )


def run(errors: int) -> dict[str, float]:
    """What one process measures."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", str(errors)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    print(f"memory: {errors:,} errors, grown by {significant(found['grown'])} MB", flush=True)
    return found


def main() -> None:
    """Log so many errors, and print what was seen as JSON: seconds and megabytes."""
    errors = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, socket.socket() as bound:
        # Bound, and not listening: nobody else gets the port, and who connects is refused.
        bound.bind(("127.0.0.1", 0))
        print(json.dumps(measure(Path(folder), bound.getsockname()[1], errors)))


def measure(folder: Path, port: int, errors: int) -> dict[str, float]:
    """The largest growth seen at any time."""
    delivery = Delivery(
        queue=QueueOptions(size=2 * PART),
        file=FileOptions(path=folder / "microblog.log"),
        mail=MailOptions(server="127.0.0.1", port=port, sender="blog@example.org", admins=("ada@example.org",)),
        outbox=OutboxOptions(path=folder / "outbox.sqlite3"),
    )
    with delivery:
        log(delivery, WARM_UP)
        before = resident()
        started = time.perf_counter()
        most = log(delivery, errors)
        seconds = time.perf_counter() - started
        assert "ERROR" not in delivery.statistics().refused, f"refused: {delivery.statistics().refused}"
        delivery.drain(600)
        most = max(most, resident())
    with closing(Outbox(OutboxOptions(folder / "outbox.sqlite3"))) as outbox:
        counted = sum(group.count for group in outbox.groups())
    # What is dropped on the way takes no memory either.
    assert counted == errors + WARM_UP, f"{counted:,} errors in the outbox"
    return {"before": before, "grown": most - before, "per_second": errors / seconds}


def log(delivery: Delivery, errors: int) -> float:
    """Log failures with different tracebacks, each raised anew, and return the most megabytes seen."""
    most = 0.0
    for first in range(0, errors, PART):
        for number in range(first, min(first + PART, errors)):
            error = failure(DEPTHS[number % len(DEPTHS)])
            logger.error("Request %d failed", number, exc_info=error)
        most = max(most, resident())
        # The queue has room for all of the next part: a refused error would take no memory.
        delivery.drain(600)
    return most


def resident() -> float:
    """Megabytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_SIZE / 1_000_000


if __name__ == "__main__":
    main()
