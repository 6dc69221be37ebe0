"""How long a server takes to its first page, and the memory of a worker after a thousand."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.load import visit
from tests.benchmarks.table import Row, significant
from tests.benchmarks.visitors import PAGES, Visitor, visits

if TYPE_CHECKING:
    from tests.benchmarks.blogs import Blogs

ENOUGH = 1_000
"""Pages a worker."""


def start_rows(blogs: Blogs, names: list[str], runs: int) -> dict[str, Row]:
    """Start each site several times, in turns, and ask it for pages."""
    lines: dict[str, Row] = {}
    starts: dict[str, list[float]] = {name: [] for name in names}
    sizes: dict[str, list[float]] = {name: [] for name in names}
    page = PAGES["anonymous"]
    for name in names:
        with table.attempt(lines, [f"start {name}"]):
            # Its database is there, and two servers at once would share the machine.
            blogs.get(name).server.stop()
    for _ in range(runs):
        for name in list(starts):
            done = False
            with table.attempt(lines, [f"start {name}"]):
                began = time.perf_counter()
                site = blogs.get(name).launch(page.path)
                starts[name].append(time.perf_counter() - began)
                answered = 0
                asked, _ = visits([Visitor(site.server.url)], page)
                # The connections are not shared out evenly: a quarter of the pages must be enough for either worker.
                while answered < 4 * ENOUGH:
                    answered += visit(site.port, [asked], 0.5)[0].answered
                sizes[name].append(site.worker_megabytes())
                site.server.stop()
                done = True
            if not done:
                del starts[name]
    [ours, *peers] = names
    for name in peers:
        if ours in starts and name in starts:
            for row, unit, found in (("start", "s", starts), ("memory", "MB", sizes)):
                lines[f"{row} {name}"] = Row(
                    row,
                    name,
                    f"{significant(statistics.median(found[ours]))} {unit}",
                    f"{significant(statistics.median(found[name]))} {unit}",
                    significant(table.median_ratio(found[name], found[ours])),
                    "",
                    met=True,
                )
    return lines
