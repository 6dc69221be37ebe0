"""The delivery against its peers, in one table: `python -m tests.benchmarks.delivery`.

Needs the dependency group `benchmark`; uses no other machine, and about 12 minutes of this one, whose cores the
visitors share with the servers. Each figure is the median of several runs, in which ours and its peer take turns; the
ratio is the median of the runs' own ratios. The exit status is 0 if every row is met and no error was lost on the way;
a row that could not be measured is not met.

    python -m tests.benchmarks.delivery                       all rows
    python -m tests.benchmarks.delivery --quick               all rows, shortly: that they run, not what they say
    python -m tests.benchmarks.delivery --only file --only page
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.in_process import caller_row, file_row, smtp_row
from tests.benchmarks.memory import FEW, MANY, memory_row
from tests.benchmarks.sites import HTTPTOOLS, UVLOOP, WORKERS, Sites, mail_server
from tests.benchmarks.storms import PEERS, cost_row, page_row, saturated_row, throughput_row
from tests.support.processes import Servers

if TYPE_CHECKING:
    from collections.abc import Callable

IN_PROCESS = {"caller": caller_row, "smtp": smtp_row, "file": file_row}
ON_SITES: dict[str, Callable[[Sites, int, float], table.Row]] = {
    **{name: partial(throughput_row, name) for name in PEERS},
    "bare": cost_row,
    "page": page_row,
    "saturated": saturated_row,
}
NAMES = (*IN_PROCESS, *ON_SITES, "memory")
LIBRARIES = (
    *("quart", "hypercorn", "aiosmtplib", "concurrent-log-handler"),
    *("flask", "gunicorn", "starlette", "uvicorn"),
    *(["uvloop"] if UVLOOP else []),
    *(["httptools"] if HTTPTOOLS else []),
)
# Seconds the mail server takes to acknowledge a mail.
LATE = 0.5


def main() -> int:
    """Print the table; the exit status says whether every figure is what it must be."""
    options = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    names = [name for name in NAMES if not options.only or name in options.only]
    print(machine(), flush=True)
    before = ticks()
    runs, seconds = (1, 1.0) if options.quick else (options.runs, options.seconds)
    records = 50 if options.quick else 500
    rows: dict[str, table.Row] = {}
    for name, row in IN_PROCESS.items():
        if name in names:
            with table.attempt(rows, [name]):
                rows[name] = row(runs, records)
    on_sites = [name for name in ON_SITES if name in names]
    with table.attempt(rows, on_sites):
        measure_sites(rows, on_sites, runs, seconds)
    if "memory" in names:
        with table.attempt(rows, ["memory"]):
            rows["memory"] = memory_row(runs, *((FEW // 20, MANY // 50) if options.quick else (FEW, MANY)))
    print(f"median of {runs}, {seconds:g} s each; load average now {load_average()}; {stolen(before)}\n")
    print(table.text(rows.values()))
    return 0 if all(row.holds for row in rows.values()) else 1


def measure_sites(rows: dict[str, table.Row], names: list[str], runs: int, seconds: float) -> None:
    """Add the rows that need servers, which run only as long as these rows do."""
    if not names:
        return
    with tempfile.TemporaryDirectory() as folder, mail_server(LATE) as port, Servers(Path(folder)) as servers:
        sites = Sites(servers, port)
        for name in names:
            with table.attempt(rows, [name]):
                rows[name] = ON_SITES[name](sites, runs, seconds)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    asking = argparse.ArgumentParser(prog="python -m tests.benchmarks.delivery", description=__doc__.splitlines()[0])
    asking.add_argument("--quick", action="store_true", help="one short run of each: that they work, not what they say")
    asking.add_argument("--only", action="append", choices=NAMES, metavar="ROW", help=f"of {', '.join(NAMES)}")
    asking.add_argument("--runs", type=int, default=5, help="runs of each figure (default: 5)")
    asking.add_argument("--seconds", type=float, default=5.0, help="seconds of each run of a server (default: 5)")
    return asking


def leave(number: int, _frame: object) -> None:
    """End by an exception: every block that has started a process then ends it."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def machine() -> str:
    """What the figures were taken on."""
    loops = f"hypercorn with {'uvloop' if UVLOOP else 'asyncio'}"
    peer = f"uvicorn with {'uvloop' if UVLOOP else 'asyncio'} and {'httptools' if HTTPTOOLS else 'h11'}"
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load average {load_average()} before;"
        f" {WORKERS} workers each; {loops}, {peer}\n{', '.join(f'{name} {version(name)}' for name in LIBRARIES)}"
    )


def ticks() -> list[int]:
    """Processor time since the machine was started, by what it was used for; see proc_stat(5)."""
    return [*map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])]


def stolen(before: list[int]) -> str:
    """What the host gave to other machines meanwhile: where that is much, the figures tell of them as well."""
    spent = [now - then for now, then in zip(ticks(), before, strict=True)]
    # Idle time is the fourth, stolen time the eighth.
    return f"the host took {spent[7] / max(1, sum(spent) - spent[3]):.1%} of the busy processor time"


def load_average() -> str:
    """Of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
