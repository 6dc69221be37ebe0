"""Every promise, what was tried, and whether it held: `python -m tests.endurance`.

    python -m tests.endurance                       all of them, about half an hour, most of it the soak
    python -m tests.endurance --short               each one shortly: that it is tried at all
    python -m tests.endurance --only soak --minutes 60

The exit status is 0 if every promise held. It needs Debian's `faketime` for the clock and `postgresql` for a database
that goes away.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.table import columns
from tests.endurance.promises import PROMISES
from tests.endurance.trial import Trial
from tests.support.processes import Servers


def main() -> int:
    """Try the promises, and print the table."""
    asking = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__.splitlines()[0])
    asking.add_argument("--short", action="store_true", help="try each one shortly")
    asking.add_argument("--only", action="append", choices=PROMISES, metavar="NAME", help=f"of {', '.join(PROMISES)}")
    asking.add_argument("--minutes", type=float, default=20.0, help="minutes of the soak (default: 20)")
    options = asking.parse_args()
    lines = [("name", "promise", "tried", "held")]
    for name in PROMISES:
        if options.only and name not in options.only:
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        lines.append(result(name, short=options.short, minutes=options.minutes))
    print(columns(lines, left=3))
    return 0 if all(line[-1] == "yes" for line in lines[1:]) else 1


def result(name: str, *, short: bool, minutes: float) -> tuple[str, str, str, str]:
    """Try one promise, and return its line."""
    promise = PROMISES[name]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Servers(Path(folder)) as servers:
        # Commands of other users look into it.
        Path(folder).chmod(0o755)
        try:
            tried = promise.attempt(Trial(servers, short=short, minutes=minutes))
        except Exception as error:  # noqa: BLE001  whatever a server has met
            return (name, promise.text, f"{time.monotonic() - began:.0f} s", f"NO: {str(error)[:200]}")
    return (name, promise.text, tried, "yes")


if __name__ == "__main__":
    sys.exit(main())
