"""The pages against their peers, in one table: `python -m tests.benchmarks.pages`.

Needs the dependency group `benchmark`. Flask, Django and Starlette serve the same microblog, each as its users serve
it, with two workers; see `peers/microblogs`. A figure is the processor time of all processes of a server for one
request, the median of several runs in which the servers take turns. The ratio is the peer's time by ours: above 1, ours
is cheaper. The exit status is 0 if every ratio is what it must be.

    python -m tests.benchmarks.pages                          all pages
    python -m tests.benchmarks.pages --only home --quick      that it works, not what it says
    python -m tests.benchmarks.pages --before ../earlier      against a checkout of an earlier version, too
    python -m tests.benchmarks.pages --postgres               ours and Starlette's on PostgreSQL
    python -m tests.benchmarks.pages --sizes                  10,000 posts against 1,000,000, page 1 against page 1,000
    python -m tests.benchmarks.pages --svg docs/images/pages.svg
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.blogs import CONNECTIONS, PAGES, Blogs
from tests.benchmarks.load import Visits, visit
from tests.benchmarks.plot import bars
from tests.benchmarks.table import Row, significant
from tests.endurance.trial import memory
from tests.support.postgres import Cluster
from tests.support.processes import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.sites import Site

PEERS = ("starlette", "django", "flask")
# Further sites of one page: the blog without any rendered piece, and a bare view on the same server.
ALONE = {"home": ["cold"], "hello": ["quart"]}
# What the peer's processor time must be, in times of ours; and what it would be at best.
MUST = {
    ("home", "starlette"): (1.0, 1.25),
    ("home", "django"): (1.6, None),
    ("home", "flask"): (3.0, None),
    ("home", "before"): (2.2, 2.6),
    ("profile", "starlette"): (1.1, 1.35),
    ("profile", "django"): (1.6, None),
    ("profile", "flask"): (1.7, None),
    ("login", "django"): (1.6, None),
    ("login", "flask"): (1.1, None),
    ("save", "flask"): (1.5, 2.0),
    ("hello", "before"): (1.0, None),
    ("cold", "before"): (1.2, 1.4),
}


@dataclass(slots=True)
class Figures:
    """Of one page of one site: a number for each run."""

    micros: list[float] = field(default_factory=list)
    """Microseconds of processor time a request."""
    rates: list[float] = field(default_factory=list)
    """Requests a second."""

    def __str__(self) -> str:
        return f"{statistics.median(self.micros):,.0f} µs, {statistics.median(self.rates):,.0f}/s"


def measure(blogs: Blogs, names: list[str], page: str, runs: int, seconds: float) -> dict[str, Figures]:
    """Let the sites take turns with this page."""
    kinds = {name: blogs.visits(name, PAGES[page]) for name in names}
    found = {name: Figures() for name in names}
    for run in range(runs + 1):
        for name in names if run % 2 == 0 else reversed(names):
            micros, rate = once(blogs.get(name), kinds[name], seconds)
            # The first run warms up.
            if run:
                found[name].micros.append(micros)
                found[name].rates.append(rate)
    return found


def rows(page: str, found: dict[str, Figures]) -> Iterator[Row]:
    """Yield a row for each peer."""
    ours = found["ours"]
    for name, figures in found.items():
        if name != "ours":
            yield row(page, name, ours, figures)
    if "cold" in found and "before" in found:
        yield row("cold", "before", found["cold"], found["before"])


def row(page: str, name: str, ours: Figures, peer: Figures) -> Row:
    """Return the row of one peer."""
    ratio = table.median_ratio(peer.micros, ours.micros)
    must, aim = MUST.get((page, name), (None, None))
    wanted = "" if must is None else f">= {must:g}" + (f", aim {aim:g}" if aim else "")
    # Two runs of the same code differ by a few percent.
    met = must is None or ratio >= must * (0.95 if page == "hello" else 1.0)
    return Row(page, name, str(ours), str(peer), significant(ratio), wanted, met)


def main() -> int:
    """Print the table; the exit status says whether every figure is what it must be."""
    options = parser().parse_args()
    pages = [page for page in PAGES if not options.only or page in options.only]
    runs, seconds = (1, 0.5) if options.quick else (options.runs, options.seconds)
    if options.sizes:
        return sizes(runs, seconds)
    lines: dict[str, Row] = {}
    micros: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        cluster = stack.enter_context(Cluster()) if options.postgres else None
        blogs = Blogs(servers, before=options.before and options.before.resolve(), cluster=cluster)
        for page in pages:
            names = ["ours", *PEERS, *ALONE.get(page, []), *(["before"] if options.before else [])]
            if options.postgres:
                names = ["ours", "starlette"]
            with table.attempt(lines, [page]):
                found = measure(blogs, names, page, runs, seconds)
                lines |= {f"{page} {line.name} {line.figure}": line for line in rows(page, found)}
                micros[page] = {name: statistics.median(figures.micros) for name, figures in found.items()}
                print(f"{page}: {', '.join(f'{name} {figures}' for name, figures in found.items())}", flush=True)
    print(f"median of {runs}, {seconds:g} s each\n")
    print(table.text(lines.values()))
    if options.svg:
        options.svg.write_text(bars(micros, ["ours", *PEERS]), "utf-8")
    return 0 if all(line.holds for line in lines.values()) else 1


def sizes(runs: int, seconds: float) -> int:
    """Print what the number of posts costs, the time of a start, and the memory of a worker."""
    with tempfile.TemporaryDirectory() as folder, Servers(Path(folder)) as servers:
        blogs = Blogs(servers)
        empty = servers.site("empty")
        began = time.perf_counter()
        assert servers.quartblog(empty, until="/").stop() == 0
        print(
            f"`quartblog run`, with a new database, to the first page and the end: {time.perf_counter() - began:.1f} s"
        )
        few = blogs.sized(10_000)
        many = blogs.sized(1_000_000)
        asked = {
            "page 1 of 10,000": (few, Visits("/", 200, CONNECTIONS)),
            "page 1 of 1,000,000": (many, Visits("/", 200, CONNECTIONS)),
            "page 1,000 of 1,000,000": (many, Visits(f"/?before={1_000_000 - 20 * 1_000}", 200, CONNECTIONS)),
        }
        found: dict[str, Figures] = {name: Figures() for name in asked}
        for run in range(runs + 1):
            for name, (site, visits) in asked.items():
                figures = once(site, visits, seconds)
                if run:
                    found[name].micros.append(figures[0])
                    found[name].rates.append(figures[1])
        resident = max(memory(pid) for pid in many.server.workers)
        first, large, deep = found.values()
        pairs = (("1,000,000 posts / 10,000", large, first), ("page 1,000 / page 1", deep, large))
        lines = [
            Row("sizes", figure, str(of), str(to), significant(ratio), "<= 1.2, aim 1.1", ratio <= 1.2)
            for figure, of, to in pairs
            if (ratio := table.median_ratio(of.micros, to.micros))
        ]
    print(table.text(lines))
    print(f"memory of a worker after these pages: {resident:.0f} MB")
    return 0 if all(line.holds for line in lines) else 1


def once(site: Site, visits: Visits, seconds: float) -> tuple[float, float]:
    """Return the microseconds of processor time a request, and the requests a second, of one run."""
    site.settle()
    before = site.cpu_seconds()
    [outcome] = visit(site.port, [visits], seconds)
    site.settle()
    return (site.cpu_seconds() - before) / outcome.answered * 1e6, outcome.per_second


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    asking = argparse.ArgumentParser(prog="python -m tests.benchmarks.pages", description=__doc__.splitlines()[0])
    asking.add_argument("--quick", action="store_true", help="one short run of each: that they work, not what they say")
    asking.add_argument("--only", action="append", choices=PAGES, metavar="PAGE", help=f"of {', '.join(PAGES)}")
    asking.add_argument("--before", type=Path, metavar="FOLDER", help="a checkout of an earlier version")
    asking.add_argument("--runs", type=int, default=5, help="runs of each figure (default: 5)")
    asking.add_argument("--seconds", type=float, default=2.0, help="seconds of each run (default: 2)")
    asking.add_argument("--postgres", action="store_true", help="ours and Starlette's, both on PostgreSQL")
    asking.add_argument("--sizes", action="store_true", help="the blog alone, with few and with many posts")
    asking.add_argument("--svg", type=Path, metavar="FILE", help="draw the processor times as bars")
    return asking


if __name__ == "__main__":
    sys.exit(main())
