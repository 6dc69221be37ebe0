"""Every promise, the trial of it, and whether it held: `python -m tests.endurance`.

    python -m tests.endurance                       all of them, about half an hour, most of it the soak
    python -m tests.endurance --short               a small trial of each, in a minute and a half
    python -m tests.endurance --only soak --minutes 60

While it runs, it prints the state of each trial and its seconds; the table comes at the end. The exit status is 0 if
every promise held. It needs Debian's `faketime` for the clock, `postgresql` for a database that goes away, and the
right to mount a disk in a user namespace.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import textwrap
import time
import traceback
from pathlib import Path

from tests.benchmarks.table import columns
from tests.endurance.promises import PROMISES
from tests.endurance.trial import Trial
from tests.support.processes import Servers


def main() -> int:
    """Try the promises, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="make a small trial of each promise")
    parser.add_argument("--only", action="append", choices=PROMISES, metavar="NAME", help=f"of {', '.join(PROMISES)}")
    parser.add_argument("--minutes", type=float, default=20.0, help="minutes of the soak (default: 20)")
    options = parser.parse_args()
    names = [name for name in PROMISES if not options.only or name in options.only]
    lines = [("name", "promise", "tried", "seconds", "held")]
    lines += [result(name, short=options.short, minutes=options.minutes) for name in names]
    print(columns(lines, left=3))
    return 0 if all(line[-1] == "yes" for line in lines[1:]) else 1


class Progress:
    """Prints what a trial reports, with the seconds since its start."""

    def __init__(self) -> None:
        self.last = "nothing was tried"
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def report(self, words: str) -> None:
        """Print one line."""
        self.last = words
        print(f"{self.seconds:6.0f} s  {words}", file=sys.stderr, flush=True)


def result(name: str, *, short: bool, minutes: float) -> tuple[str, str, str, str, str]:
    """Try one promise, and return its line."""
    promise = PROMISES[name]
    print(f"{name}: {promise.text}", file=sys.stderr, flush=True)
    progress = Progress()
    with tempfile.TemporaryDirectory() as folder, Servers(Path(folder)) as servers:
        # PostgreSQL's commands run as another user and enter this folder.
        Path(folder).chmod(0o755)
        try:
            tried = promise.attempt(Trial(servers, short=short, minutes=minutes, report=progress.report))
            held = "yes"
        except Exception as error:  # noqa: BLE001  a server may have met anything
            traceback.print_exception(error)
            tried = progress.last
            held = f"NO: {textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=' …')}"
    seconds = f"{progress.seconds:.0f}"
    progress.report(f"{held}: {tried}" if held == "yes" else held)
    return (name, promise.text, tried, seconds, held)


if __name__ == "__main__":
    sys.exit(main())
