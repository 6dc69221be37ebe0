"""A failing route under load: how many answers a second, and what another page's visitors notice of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
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

# The home page, of visitors who are not signed in.
PAGE = Visits("/", 200, 8, rate=50)

# What a storm at a rate takes of all that a storm without a pause was answered in so many seconds.
ROOM = 3
CALIBRATION = 2.0
# A storm at a rate must not wait for its own connections when a worker is late.
RATED_CONNECTIONS = 64
# Less than this share of its rate answered in time was another storm than the row speaks of.
BLOWN = 0.95

PEERS = {
    "flask": ("failing route, mail 0.5 s late: Flask, SMTPHandler, gunicorn", 400.0),
    "starlette": ("the same: Starlette, QueueHandler, SMTPHandler, uvicorn", 1.0),
}

COUNTED = 20_000
"""Failing requests whose processor time is measured, over all runs together."""


@dataclass(slots=True)
class Weather:
    """Where a page is asked for, and what blows meanwhile."""

    site: str
    storm: Visits | None = None
    late: list[float] = field(default_factory=list)
    """p99 of the page in milliseconds, for each run."""
    blown: list[float] = field(default_factory=list)
    """Errors answered a second, for each run with a storm."""
    lost: int = 0
    """Errors nobody will hear of, of all runs."""

    @property
    def kinds(self) -> list[Visits]:
        """Whoever asks."""
        return [PAGE, self.storm] if self.storm else [PAGE]


def throughput_row(name: str, sites: Sites, runs: int, seconds: float) -> Row:
    """Ours and this peer, one after the other in every run."""
    pair = ("ours", name)
    for one in pair:
        answers(sites.get(one), [STORM], seconds / 2)
    found: dict[str, list[float]] = {one: [] for one in pair}
    spent = dict.fromkeys(pair, 0.0)
    lost = 0
    for run in range(runs):
        # Whoever comes first in a run may meet a cooler machine.
        for one in pair if run % 2 == 0 else reversed(pair):
            site = sites.get(one)
            before = site.cpu_seconds()
            [storm], books = answers(site, [STORM], seconds)
            assert storm.in_time, f"{one} has answered nothing in time"
            found[one].append(storm.per_second)
            spent[one] += (site.cpu_seconds() - before) / storm.answered
            lost += tell(f"run {run + 1} of {runs}, {one}: {significant(storm.per_second)}/s", books)
    # Steadier than requests a second where others use the machine: whoever has more threads then gets more of it.
    shares = ", ".join(f"{one} {significant(spent[one] / runs * 1e6)} µs" for one in pair)
    print(f"processor time per error, with all that follows it: {shares}")
    ours, peer = found.values()
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


def cost_row(sites: Sites, runs: int, seconds: float) -> Row:
    """The processor time of this blog for failing requests, and of the same blog without any handler.

    It is the user and system time of all processes of the server, with all that follows an answer: log line, outbox and
    mail. Requests a second would show the scheduling of the two cores that the visitors share with the workers.
    """
    pair = ("ours", "bare")
    for one in pair:
        answers(sites.get(one), [STORM], seconds / 2)
    found: dict[str, list[float]] = {one: [] for one in pair}
    lost = 0
    for run in range(runs):
        for one in pair if run % 2 == 0 else reversed(pair):
            site = sites.get(one)
            before, answered = site.cpu_seconds(), 0
            while answered < COUNTED / runs:
                [storm], books = answers(site, [STORM], seconds)
                assert storm.answered, f"{one} has answered nothing"
                answered += storm.answered
                lost += tell(f"run {run + 1} of {runs}, {one}: {significant(storm.per_second)}/s", books)
            found[one].append((site.cpu_seconds() - before) / answered * COUNTED)
    ours, bare = found.values()
    ratio = median_ratio(ours, bare)
    return Row(
        "bare",
        f"processor time of {COUNTED:,} failing requests: this blog without any handler",
        f"{significant(statistics.median(ours))} s",
        f"{significant(statistics.median(bare))} s",
        significant(ratio),
        "<= 1.35",
        ratio <= 1.35,
        lost,
    )


def page_row(sites: Sites, runs: int, seconds: float) -> Row:
    """The page beside a storm at a rate that leaves the workers room: ours, and the blog without any handler.

    In a storm without a pause a page waits in the queue of busy workers, whatever the server: see `saturated_row`.

    Printed as well: how late ours is without a storm, and in one half as strong. An error that comes alone takes up to
    twice the processor time of one among many, and the visitors take theirs: the storm itself leaves two processors
    less room than it seems.
    """
    calm, storm, bare, half = Weather("ours"), Weather("ours", STORM), Weather("bare", STORM), Weather("ours", STORM)
    weathers = {"page, calm": calm, "page, storm": storm, "page, storm, bare": bare, "page, half the storm": half}
    warm_up(sites, weathers, seconds)
    for run in range(runs):
        # In every run anew: how much a machine can changes by the minute where others use it too.
        [most], _ = answers(sites.get("ours"), [STORM], CALIBRATION)
        storm.storm = bare.storm = Visits(FAILING, 500, RATED_CONNECTIONS, most.per_second / ROOM)
        half.storm = replace(storm.storm, rate=most.per_second / ROOM / 2)
        take_turns(sites, weathers, run, runs, seconds)
    rate = statistics.median(storm.blown)
    for what, weather in {"this storm": storm, "it without any handler": bare, "one half as strong": half}.items():
        ratio = significant(median_ratio(weather.late, calm.late))
        print(f"page: p99 in {what}: {significant(statistics.median(weather.late))} ms, {ratio} times that without one")
    figure = f"p99 of a page, storm of {significant(rate)} errors/s (1/{ROOM} of what it can): without any handler"
    return late_row("page", figure, storm, bare, 1.6)


def saturated_row(sites: Sites, runs: int, seconds: float) -> Row:
    """The page beside a storm without a pause, which keeps all workers busy: ours, and the blog without any handler.

    Printed as well: how late both are without a storm.
    """
    ours, bare = Weather("ours", STORM), Weather("bare", STORM)
    calm = {name: Weather(name) for name in ("ours", "bare")}
    weathers = {f"saturated, {name}, calm": weather for name, weather in calm.items()}
    weathers |= {"saturated, ours": ours, "saturated, bare": bare}
    warm_up(sites, weathers, seconds)
    for run in range(runs):
        take_turns(sites, weathers, run, runs, seconds)
    alone = ", ".join(f"{name} {significant(statistics.median(weather.late))} ms" for name, weather in calm.items())
    errors = f"ours {significant(statistics.median(ours.blown))}/s, bare {significant(statistics.median(bare.blown))}/s"
    print(f"saturated: p99 of the page without a storm: {alone}; errors in the storm: {errors}")
    return late_row("saturated", f"p99 of a page, {CONNECTIONS} connections storm: without any handler", ours, bare, 2)


def late_row(name: str, figure: str, one: Weather, other: Weather, most: float) -> Row:
    """How late the page is in one weather, to another; `most` is the ratio that it must not exceed."""
    ratio = median_ratio(one.late, other.late)
    return Row(
        name,
        figure,
        f"{significant(statistics.median(one.late))} ms",
        f"{significant(statistics.median(other.late))} ms",
        significant(ratio),
        f"<= {most:g}",
        ratio <= most,
        one.lost + other.lost,
    )


def warm_up(sites: Sites, weathers: dict[str, Weather], seconds: float) -> None:
    """Start what is needed, and let it do once what it will be measured at."""
    for weather in weathers.values():
        answers(sites.get(weather.site), weather.kinds, seconds / 2)


def take_turns(sites: Sites, weathers: dict[str, Weather], run: int, runs: int, seconds: float) -> None:
    """Ask for the page in all weathers, one after the other.

    Raise AssertionError when a storm at a rate was weaker than that.
    """
    for name, weather in weathers.items() if run % 2 == 0 else reversed(weathers.items()):
        (page, *storms), books = answers(sites.get(weather.site), weather.kinds, seconds)
        weather.late.append(page.percentile(0.99) * 1000)
        figures = f"p99 {significant(weather.late[-1])} ms"
        for storm in storms:
            weather.blown.append(storm.per_second)
            figures += f", {significant(storm.per_second)} errors/s"
        weather.lost += tell(f"run {run + 1} of {runs}, {name}: {figures}", books)
        if weather.storm and weather.storm.rate:
            share = weather.blown[-1] / weather.storm.rate
            assert share >= BLOWN, f"the storm blew at {share:.0%} of {significant(weather.storm.rate)} errors/s"


def answers(site: Site, kinds: Sequence[Visits], seconds: float) -> tuple[list[Outcome], Ledger | None]:
    """One run, and what became of its errors; with time afterwards for what the server does behind the answers."""
    before = site.ledger()
    try:
        outcomes = visit(site.port, kinds, seconds)
    finally:
        # Also after a run that failed: its errors must not come into the books of the next one.
        site.settle()
    site.errors += sum(outcome.answered for kind, outcome in zip(kinds, outcomes, strict=True) if kind.status == 500)
    after = site.ledger()
    books = after.since(before) if before and after else None
    return outcomes, books if books and books.answered else None


def tell(run: str, books: Ledger | None) -> int:
    """Print how one run went, and return how many errors it has lost."""
    print(f"{run}; {books}" if books else run, flush=True)
    return books.lost if books else 0
