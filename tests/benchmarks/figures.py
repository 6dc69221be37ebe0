"""Sites that take turns -> the processor time of a request, and the requests a second, of each run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.load import visit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.load import Visits
    from tests.benchmarks.sites import Site


@dataclass(slots=True)
class Figures:
    """Of one page of one site: a number for each run."""

    micros: list[float] = field(default_factory=list)
    """Microseconds of processor time a request, of all processes of the server."""
    rates: list[float] = field(default_factory=list)
    """Requests a second."""

    def __str__(self) -> str:
        return f"{statistics.median(self.micros):,.0f} µs, {statistics.median(self.rates):,.0f}/s"


def take_turns(
    lines: dict[str, table.Row], row: str, asked: Mapping[str, tuple[Site, Visits]], runs: int, seconds: float
) -> dict[str, Figures]:
    """Ask each site in every run. A site that fails costs only its own figures, and has its line in the table."""
    found = {name: Figures() for name in asked}
    for run in range(runs + 1):
        # Whoever comes first in a run may meet a cooler machine.
        for name in list(found) if run % 2 == 0 else reversed(list(found)):
            figures = found.pop(name)
            with table.attempt(lines, [f"{row} {name}"]):
                micros, rate = once(*asked[name], seconds)
                # The first run warms up.
                if run:
                    figures.micros.append(micros)
                    figures.rates.append(rate)
                found[name] = figures
    # In the order of the question.
    return {name: found[name] for name in asked if name in found}


def once(site: Site, visits: Visits, seconds: float) -> tuple[float, float]:
    """Return the microseconds of processor time a request, and the requests a second, of one run."""
    site.settle()
    before = site.cpu_seconds()
    [outcome] = visit(site.port, [visits], seconds)
    site.settle()
    return (site.cpu_seconds() - before) / outcome.answered * 1e6, outcome.per_second
