"""The pages against their peers, in one table: `python -m tests.benchmarks.pages`.

Needs the dependency group `benchmark`. Flask, Django and Starlette serve the same microblog, each as its users serve
it, with two workers; see `peers/microblogs`. A figure is the processor time of all processes of a server for one
request, the median of several runs in which the servers take turns; a database server's own time is no part of it. The
ratio is the peer's time by ours: above 1, ours is cheaper. Each answer is looked at, and a wrong one fails its line.
The exit status is 0 if every ratio is what it must be.

    python -m tests.benchmarks.pages                          all rows
    python -m tests.benchmarks.pages --only home --quick      that it works, not what it says
    python -m tests.benchmarks.pages --before ../earlier      against a checkout of an earlier version, too
    python -m tests.benchmarks.pages --postgres               ours and Starlette's on PostgreSQL
    python -m tests.benchmarks.pages --sizes                  10,000 posts to 1,000,000, page 1 against page 1,000
    python -m tests.benchmarks.pages --svg docs/images/pages.svg
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.blogs import Blogs
from tests.benchmarks.delivery import leave
from tests.benchmarks.figures import Figures, take_turns
from tests.benchmarks.plot import bars
from tests.benchmarks.sizes import size_rows
from tests.benchmarks.starting import start_rows
from tests.benchmarks.table import Row, significant
from tests.benchmarks.visitors import PAGES
from tests.support.postgres import Cluster
from tests.support.processes import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS = ("starlette", "django", "flask")
NAMES = (*PAGES, "start")
Musts = dict[tuple[str, str], tuple[float, float | None]]
# What the other's processor time must be, in times of ours; and what it would be at best. Two runs of the same code
# differ by a few percent, so "no worse" is 0.95.
MUST: Musts = {
    ("home", "starlette"): (1.0, 1.25),
    ("home", "django"): (1.6, None),
    ("home", "flask"): (3.0, None),
    ("home", "before"): (2.2, 2.6),
    ("cold", "before"): (1.2, 1.4),
    ("profile", "starlette"): (1.1, 1.35),
    ("profile", "django"): (1.6, None),
    ("profile", "flask"): (1.7, None),
    ("login", "django"): (1.6, None),
    ("login", "flask"): (1.1, None),
    ("hello", "before"): (0.95, None),
    ("save", "flask"): (1.5, 2.0),
}
MUST_ON_POSTGRESQL: Musts = {("home", "starlette"): (1.0, 1.2)}
LOGIN_AIM = 350
# The peers' page may be this much larger or smaller.
SAME_SIZE = 0.2


def measure(
    blogs: Blogs, lines: dict[str, Row], row: str, names: list[str], *, runs: int, seconds: float
) -> dict[str, Figures]:
    """Let the sites take turns with this page. A site that fails has its line in the table, and no figures."""
    asked = {}
    sizes: dict[str, int] = {}
    for name in names:
        with table.attempt(lines, [f"{row} {name}"]):
            visits, sizes[name] = blogs.visits(name, PAGES[row])
            if name in PEERS:
                ours = sizes[names[0]]
                same = abs(sizes[name] - ours) <= ours * SAME_SIZE
                assert same, f"a page of {sizes[name]:,} bytes, ours has {ours:,}"
            asked[name] = (blogs.get(name), visits)
    found = take_turns(lines, row, asked, runs, seconds)
    print(f"{row}: {', '.join(f'{name} {figures}' for name, figures in found.items())}", flush=True)
    if any(sizes.values()):
        print(f"{row}: bytes: {', '.join(f'{name} {size:,}' for name, size in sizes.items())}", flush=True)
    return found


def rows(row: str, first: str, found: dict[str, Figures], musts: Musts) -> Iterator[Row]:
    """Yield a line for each site but the first, whose figures it is compared with."""
    if first not in found:
        return
    ours = found[first]
    if row == "login":
        yield Row(row, "alone", str(ours), "", "", "", met=True, aim=f"<= {LOGIN_AIM} µs")
    for name, figures in found.items():
        if name != first:
            ratio = table.median_ratio(figures.micros, ours.micros)
            must, aim = musts.get((row, name), (None, None))
            yield Row(
                row,
                name,
                str(ours),
                str(figures),
                significant(ratio),
                f">= {must:g}" if must else "",
                must is None or ratio >= must,
                aim=f"{aim:g}" if aim else "",
            )


def main() -> int:
    """Print the table; the exit status says whether every figure is what it must be."""
    options = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    runs, seconds = (1, 0.5) if options.quick else (options.runs, options.seconds)
    lines: dict[str, Row] = {}
    micros: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        cluster = stack.enter_context(Cluster()) if options.postgres else None
        blogs = Blogs(servers, before=options.before and options.before.resolve(), cluster=cluster)
        peers = ["starlette"] if options.postgres else [*PEERS]
        before = ["before"] if options.before else []
        musts = MUST_ON_POSTGRESQL if options.postgres else MUST
        if options.sizes:
            lines |= size_rows(blogs, runs, seconds)
        for row in [] if options.sizes else [name for name in PAGES if not options.only or name in options.only]:
            first = PAGES[row].site
            names = [first, *peers, "quart", *(["ours"] if first != "ours" else []), *before]
            found = measure(blogs, lines, row, names, runs=runs, seconds=seconds)
            lines |= {f"{row} {line.figure}": line for line in rows(row, first, found, musts)}
            micros[row] = {name: statistics.median(figures.micros) for name, figures in found.items()}
        if not options.sizes and (not options.only or "start" in options.only):
            lines |= start_rows(blogs, ["ours", *peers, *before], runs)
    print(f"median of {runs}, {seconds:g} s each; ratio: the other's processor time by ours, above 1 ours is cheaper\n")
    print(table.text(lines.values()))
    if options.svg:
        pages = {row: found for row, found in micros.items() if PAGES[row].site == "ours"}
        options.svg.write_text(bars(pages, ["ours", *PEERS]), "utf-8")
    return 0 if all(line.holds for line in lines.values()) else 1


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    asking = argparse.ArgumentParser(prog="python -m tests.benchmarks.pages", description=__doc__.splitlines()[0])
    asking.add_argument("--quick", action="store_true", help="one short run of each: that they work, not what they say")
    asking.add_argument("--only", action="append", choices=NAMES, metavar="ROW", help=f"of {', '.join(NAMES)}")
    asking.add_argument("--before", type=Path, metavar="FOLDER", help="a checkout of an earlier version")
    asking.add_argument("--runs", type=int, default=5, help="runs of each figure (default: 5)")
    asking.add_argument("--seconds", type=float, default=2.0, help="seconds of each run (default: 2)")
    asking.add_argument("--postgres", action="store_true", help="ours and Starlette's, both on PostgreSQL")
    asking.add_argument("--sizes", action="store_true", help="the blog alone, with few and with many posts")
    asking.add_argument("--svg", type=Path, metavar="FILE", help="draw the processor times as bars")
    return asking


if __name__ == "__main__":
    sys.exit(main())
