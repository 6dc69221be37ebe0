"""A failing route under load: how many answers a second, and what another page's visitors notice of it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tests.benchmarks.load import Outcome, Visits, visit
from tests.benchmarks.sites import FAILING
from tests.benchmarks.table import Row, median_ratio, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.sites import Site, Sites

# Few enough that the last ones of a peer that answers four a second are answered soon after the run.
CONNECTIONS = 16
STORM = Visits(FAILING, 500, CONNECTIONS)

PAGE = "/"
PAGES_PER_SECOND = 50

PEERS = {
    "flask": ("failing route, mail 0.5 s late: Flask, SMTPHandler, gunicorn", 400.0),
    "starlette": ("the same: Starlette, QueueHandler, SMTPHandler, uvicorn", 1.0),
    "bare": ("the same: this blog without any handler", 0.9),
}


def throughput_rows(sites: Sites, names: Sequence[str], runs: int, seconds: float) -> list[Row]:
    """Ours and each of these peers, one after the other in every run."""
    everybody = ["ours", *names]
    for name in everybody:
        answers(sites.get(name), [STORM], seconds / 2)
    found: dict[str, list[float]] = {name: [] for name in everybody}
    spent = dict.fromkeys(everybody, 0.0)
    for run in range(runs):
        # Whoever comes first in a run may meet a cooler machine.
        for name in everybody if run % 2 == 0 else reversed(everybody):
            site = sites.get(name)
            before = site.cpu_seconds()
            (storm,) = answers(site, [STORM], seconds)
            found[name].append(storm.per_second)
            spent[name] += (site.cpu_seconds() - before) / storm.answered
    # Steadier than requests a second where others use the machine: whoever has more threads then gets more of it.
    shares = ", ".join(f"{name} {significant(spent[name] / runs * 1e6)} µs" for name in everybody)
    print(f"processor time per error, with all that follows it: {shares}")
    return [throughput_row(name, found["ours"], found[name]) for name in names]


def throughput_row(name: str, ours: list[float], peer: list[float]) -> Row:
    """One peer's row."""
    figure, wanted = PEERS[name]
    ratio = median_ratio(ours, peer)
    return Row(
        name,
        figure,
        f"{significant(statistics.median(ours))}/s",
        f"{significant(statistics.median(peer))}/s",
        significant(ratio),
        f">= {wanted:g}",
        ratio >= wanted,
    )


def page_row(sites: Sites, rate: float, runs: int, seconds: float) -> Row:
    """The home page of a visitor who is not signed in, while so many errors a second are answered and while none is."""
    site = sites.get("ours")
    page = Visits(PAGE, 200, 8, PAGES_PER_SECOND)
    storm = Visits(FAILING, 500, CONNECTIONS, rate)
    answers(site, [page, storm], seconds / 2)
    calm, stormy = [], []
    for _ in range(runs):
        (alone,) = answers(site, [page], seconds)
        calm.append(alone.percentile(0.99) * 1000)
        beside, errors = answers(site, [page, storm], seconds)
        assert errors.per_second > 0.95 * rate, f"the storm blew only {errors.per_second:.0f}/s"
        stormy.append(beside.percentile(0.99) * 1000)
    ratio = median_ratio(stormy, calm)
    return Row(
        "page",
        f"p99 of the home page in a storm of {rate:g} errors/s: without it",
        f"{significant(statistics.median(stormy))} ms",
        f"{significant(statistics.median(calm))} ms",
        significant(ratio),
        "<= 2",
        ratio <= 2,
    )


def answers(site: Site, kinds: Sequence[Visits], seconds: float) -> list[Outcome]:
    """One run, with time afterwards for what the server does behind the answers."""
    outcomes = visit(site.port, kinds, seconds)
    site.errors += sum(outcome.answered for kind, outcome in zip(kinds, outcomes, strict=True) if kind.status == 500)
    site.settle()
    return outcomes
