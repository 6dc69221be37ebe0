"""A failing route under load: how many answers a second, and what another page's visitors notice of it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tests.benchmarks.load import Visits, visit
from tests.benchmarks.sites import FAILING
from tests.benchmarks.table import Row, median_ratio, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.ledger import Ledger
    from tests.benchmarks.load import Outcome
    from tests.benchmarks.sites import Site, Sites

# Each asks again as soon as it is answered. Few enough that the last ones of a peer that answers four a second are
# answered soon after the run.
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
    lost = 0
    for run in range(runs):
        # Whoever comes first in a run may meet a cooler machine.
        for name in everybody if run % 2 == 0 else reversed(everybody):
            site = sites.get(name)
            before = site.cpu_seconds()
            [storm], books = answers(site, [STORM], seconds)
            found[name].append(storm.per_second)
            spent[name] += (site.cpu_seconds() - before) / storm.answered
            lost += tell(f"run {run + 1} of {runs}, {name}: {significant(storm.per_second)}/s", books)
    # Steadier than requests a second where others use the machine: whoever has more threads then gets more of it.
    shares = ", ".join(f"{name} {significant(spent[name] / runs * 1e6)} µs" for name in everybody)
    print(f"processor time per error, with all that follows it: {shares}")
    return [throughput_row(name, found["ours"], found[name], lost) for name in names]


def throughput_row(name: str, ours: list[float], peer: list[float], lost: int) -> Row:
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
        lost,
    )


def page_row(sites: Sites, runs: int, seconds: float) -> Row:
    """The home page of a visitor who is not signed in: beside the storm of the other rows, and alone.

    Printed as well: the same page in a storm that no handler hears of, which is no doing of the delivery.
    """
    page = Visits(PAGE, 200, 8, PAGES_PER_SECOND)
    weathers = {"calm": ("ours", [page]), "storm": ("ours", [page, STORM]), "storm unheard": ("bare", [page, STORM])}
    for name, kinds in weathers.values():
        answers(sites.get(name), kinds, seconds / 2)
    late: dict[str, list[float]] = {weather: [] for weather in weathers}
    blown: list[float] = []
    lost = 0
    for run in range(runs):
        for weather in list(weathers) if run % 2 == 0 else reversed(weathers):
            name, kinds = weathers[weather]
            (pages, *storms), books = answers(sites.get(name), kinds, seconds)
            late[weather].append(pages.percentile(0.99) * 1000)
            errors = storms[0].per_second if storms else 0.0
            blown += [errors] if weather == "storm" else []
            figures = f"p99 {significant(late[weather][-1])} ms, {significant(errors)} errors/s"
            lost += tell(f"run {run + 1} of {runs}, page, {weather}: {figures}", books)
    unheard = median_ratio(late["storm unheard"], late["calm"])
    print(f"page in the same storm without any handler: {significant(unheard)} times as late as calm")
    ratio = median_ratio(late["storm"], late["calm"])
    return Row(
        "page",
        f"p99 of a page, {CONNECTIONS} connections storm, {significant(statistics.median(blown))} errors/s: no storm",
        f"{significant(statistics.median(late['storm']))} ms",
        f"{significant(statistics.median(late['calm']))} ms",
        significant(ratio),
        "<= 2",
        ratio <= 2,
        lost,
    )


def answers(site: Site, kinds: Sequence[Visits], seconds: float) -> tuple[list[Outcome], Ledger | None]:
    """One run, and what became of its errors; with time afterwards for what the server does behind the answers."""
    before = site.ledger()
    outcomes = visit(site.port, kinds, seconds)
    site.errors += sum(outcome.answered for kind, outcome in zip(kinds, outcomes, strict=True) if kind.status == 500)
    site.settle()
    after = site.ledger()
    books = after.since(before) if before and after else None
    return outcomes, books if books and books.answered else None


def tell(run: str, books: Ledger | None) -> int:
    """Print how one run went, and return how many errors it has lost."""
    print(f"{run}; {books}" if books else run, flush=True)
    return books.lost if books else 0
