"""The pages of errors with none, few and many groups, in one table: `python -m tests.benchmarks.operations`.

Three outboxes are filled through `Outbox.record`: with nothing, with 60 groups, and with 10,000 groups of 1,000,000
errors, each with an id of its own. Figures about the outbox are the time of one call, which reads a file and makes
objects of its rows; those of a page are the time until the site's process, without a network, has rendered it. A figure
is the median of all runs. In a run all sizes take turns, and a ratio is the median of the runs' own ratios.

The exit status is 0 if every row is what it must be. It takes about three minutes, most of them to store the errors.

    python -m tests.benchmarks.operations                     all rows
    python -m tests.benchmarks.operations --quick             1,000 groups and 10,000 errors: that it works
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

from quartblog import migrations
from quartblog.app import create_app
from quartblog.auth import passwords, service
from quartblog.database import EXTENSION, Database
from quartblog.delivery import Outbox, OutboxOptions, Query
from quartblog.delivery.store.details import IDS
from quartblog.settings import Settings
from tests.benchmarks import table
from tests.benchmarks.table import Row, median_ratio, significant
from tests.support.browsing import PASSWORD, Visitor
from tests.support.failures import an_event
from tests.support.outbox_statements import noted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from quartblog.delivery import Event

NONE, FEW = 0, 60
CALLS = 20
"""Calls in a row, of which a run takes the median."""
RATIO, BY_ID, PAGE_BYTES = 1.5, 5.0, 60_000
OVER = 1.05
"""A file may be above its bound by what one transaction adds: the bound is kept after each megabyte of errors."""
FRAMES = 12
LIST = "/operations/errors"
Times = dict[int, list[float]]


def main() -> int:
    """Print the table; the exit status says whether every figure is what it must be."""
    options = parser().parse_args()
    many, errors, runs = (1_000, 10_000, 2) if options.quick else (options.groups, options.errors, options.runs)
    load = f"load average {os.getloadavg()[0]:.1f} before"
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores, {load}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = {groups: Path(folder) / f"{groups}.sqlite3" for groups in (NONE, FEW, many)}
        began = time.monotonic()
        for groups, path in paths.items():
            fill(path, groups, errors if groups == many else groups)
        print(f"{errors:,} errors of {many:,} groups stored in {time.monotonic() - began:.0f} s", flush=True)
        rows = [*outbox_rows(paths, errors, runs), *asyncio.run(page_rows(paths, runs))]
    print(f"median of {runs} x {CALLS}; load average now {os.getloadavg()[0]:.1f}\n")
    print(table.text(rows))
    return 0 if all(row.holds for row in rows) else 1


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    asking = argparse.ArgumentParser(prog="python -m tests.benchmarks.operations", description=__doc__.splitlines()[0])
    asking.add_argument("--quick", action="store_true", help="a small store: that it works, not what it says")
    asking.add_argument("--groups", type=int, default=10_000, help="groups of the large outbox (default: %(default)s)")
    asking.add_argument("--errors", type=int, default=1_000_000, help="its errors (default: %(default)s)")
    asking.add_argument("--runs", type=int, default=7, help="runs of each figure (default: %(default)s)")
    return asking


def fill(path: Path, groups: int, errors: int) -> None:
    """Store so many errors, in turn of each group."""
    with closing(Outbox(OutboxOptions(path))) as outbox:
        outbox.open()
        numbers = iter(range(errors))
        while batch := [an_error(number, groups) for number in itertools.islice(numbers, 10_000)]:
            if outbox.record(batch) != len(batch) or outbox.in_memory:
                raise RuntimeError(f"{path} does not store the errors")


def an_error(number: int, groups: int) -> Event:
    """Return an error like that of a page: a message with values, a traceback of its group, one of many users."""
    group = number % groups
    frames = "\n".join(
        f'  File "/srv/site/shop/part_{group % 97}.py", line {10 * frame + group % 7}, in step_{frame}\n'
        f"    result = await step_{frame + 1}(order, customer)"
        for frame in range(FRAMES)
    )
    return an_event(
        f"{group:016}",
        error_id=error_id(number),
        title=f"shop.errors.Kind{group % 41}Error",
        message=f"the order of part {group} could not be placed: no answer of warehouse {group % 13}",
        place=f"shop/part_{group % 97}.py:{10 * FRAMES + group % 7}",
        function=f"step_{FRAMES}",
        route=f"/orders/<int:order>/{group % 29}",
        user_id=number % 5_003,
        created=time.time(),
        traceback=f"Traceback (most recent call last):\n{frames}\nshop.errors.Kind{group % 41}Error: no answer",
    )


def error_id(number: int) -> str:
    """Return the id that a visitor would quote."""
    return f"{number:012}"


def outbox_rows(paths: dict[int, Path], errors: int, runs: int) -> Iterator[Row]:
    """Time the calls behind the pages, and weigh the files."""
    many = max(paths)
    boxes = {groups: Outbox(OutboxOptions(path)) for groups, path in paths.items()}
    kept = range(max(0, errors - IDS), errors)
    ids = random.Random(1).sample(kept, min(CALLS, len(kept)))
    try:
        first = take_turns({groups: page_of(box) for groups, box in boxes.items()}, runs)
        yield compared("list", "first page, outbox", first, many, FEW, must=RATIO)
        yield compared("list", "first page, outbox", first, many, NONE)
        yield absolute("search", f"an id of {len(kept):,}", times_of(lookups(boxes[many], ids), runs), most=BY_ID)
        found = sum(boxes[many].group(error_id(number)) is not None for number in ids)
        yield Row("search", "ids found", f"{found} of {len(ids)}", "", "", "all", met=found == len(ids))
        words = take_turns({groups: page_of(boxes[groups], words="order warehouse") for groups in (FEW, many)}, runs)
        yield compared("search", "words in every group", words, many, FEW)
        nowhere = take_turns({groups: page_of(boxes[groups], words="nowhere") for groups in (FEW, many)}, runs)
        yield compared("search", "a word in no group", nowhere, many, FEW)
        group = take_turns({groups: group_of(boxes[groups]) for groups in (FEW, many)}, runs)
        yield compared("group", "group page, outbox", group, many, FEW)
        most = OutboxOptions(paths[many]).max_bytes
        size = paths[many].stat().st_size
        ratio = size / most
        cells = (f"{size / 1e6:.1f} MB", f"{most / 1e6:.1f} MB", significant(ratio))
        yield Row("file", "size: its bound", *cells, f"<= {OVER:g}", met=ratio <= OVER)
    finally:
        for box in boxes.values():
            box.close()


def page_of(outbox: Outbox, **conditions: str) -> Callable[[], object]:
    """Return the call for a list of groups."""
    query = Query(state="open", **conditions)  # type: ignore[arg-type]
    return lambda: outbox.page(query)


def group_of(outbox: Outbox) -> Callable[[], object]:
    """Return the calls for the page of the group that failed last."""
    key = outbox.page(Query(limit=1)).found[0].group.id
    return lambda: (outbox.group(key), outbox.details(key))


def lookups(outbox: Outbox, ids: list[int]) -> Callable[[], object]:
    """Return a call that looks up another id each time."""
    turns = itertools.cycle(map(error_id, ids))
    return lambda: outbox.group(next(turns))


def times_of(call: Callable[[], object], runs: int) -> list[float]:
    """Return the milliseconds of one call, for each run."""
    return take_turns({0: call}, runs)[0]


def take_turns(calls: dict[int, Callable[[], object]], runs: int) -> Times:
    """Return the milliseconds of each call in each run; the first run warms up."""
    found: Times = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            took = []
            for _ in range(CALLS):
                began = time.perf_counter()
                call()
                took.append(1e3 * (time.perf_counter() - began))
            if run:
                found[name].append(statistics.median(took))
    return found


def compared(row: str, what: str, times: Times, of: int, to: int, *, must: float | None = None) -> Row:
    """Return a row about the milliseconds with so many groups against those with fewer."""
    ratio = median_ratio(times[of], times[to])
    cells = (milliseconds(times[of]), milliseconds(times[to]), significant(ratio))
    bound = "" if must is None else f"<= {must:g}"
    return Row(row, f"{what}, {of:,}: {to} groups", *cells, bound, met=must is None or ratio <= must)


def absolute(row: str, what: str, times: list[float], *, most: float) -> Row:
    """Return a row about milliseconds that have a bound."""
    return Row(row, what, milliseconds(times), "", "", f"< {most:g} ms", met=statistics.median(times) < most)


def milliseconds(times: list[float]) -> str:
    """Return the median."""
    return f"{significant(statistics.median(times))} ms"


async def page_rows(paths: dict[int, Path], runs: int) -> list[Row]:
    """Ask a site for its pages, as an administrator: the statements, the bytes, and the time of the list."""
    async with AsyncExitStack() as running:
        statements: dict[int, list[str]] = {}
        readers: dict[int, Visitor] = {}
        for groups, path in paths.items():
            statements[groups] = running.enter_context(noted(path))
            readers[groups] = await administrator(running, path)
        many = max(paths)
        rows = [
            await statement_row("list", readers, statements, dict.fromkeys(paths, LIST)),
            await statement_row("words", readers, statements, dict.fromkeys(paths, f"{LIST}?q=order+of+part")),
            await statement_row("group", readers, statements, {groups: f"{LIST}/1" for groups in paths if groups}),
        ]
        size = len((await readers[many].get(LIST)).text.encode())
        cells = (f"{size / 1e3:.1f} KB", "", "", f"< {PAGE_BYTES / 1e3:g} KB")
        rows.append(Row("list", "bytes with 50 groups", *cells, met=size < PAGE_BYTES))
        times = await page_times(readers, runs)
        return [
            *rows,
            compared("list", "first page, rendered", times, many, FEW, must=RATIO),
            compared("list", "first page, rendered", times, many, NONE),
        ]


async def administrator(running: AsyncExitStack, outbox: Path) -> Visitor:
    """Start a site on this outbox, and sign an administrator in."""
    database = outbox.with_suffix(".blog")
    url = f"sqlite+aiosqlite:///{database}"
    await asyncio.to_thread(migrations.upgrade, url)
    app = create_app(
        Settings.model_validate(
            {
                "database": {"url": url},
                "security": {"secret_key": "a key for the figures, 32 characters or more"},
                "logging": {"directory": outbox.with_suffix(".logs")},
                "delivery": {"outbox": outbox},
            }
        )
    )
    await running.enter_async_context(cast("AbstractAsyncContextManager[object]", app.test_app()))
    store: Database = app.extensions[EXTENSION]
    password_hash = await passwords.hash_password(PASSWORD)
    async with store.transaction() as session:
        ada = await service.register(session, "ada", "ada@example.com", password_hash)
        await session.flush()
        await service.set_admin(session, ada.id, admin=True)
    visitor = Visitor(app, Accept_Language="en")
    await visitor.submit("/login", username="ada", password=PASSWORD)
    return visitor


async def statement_row(
    what: str, readers: dict[int, Visitor], statements: dict[int, list[str]], asked: dict[int, str]
) -> Row:
    """Count the statements that a page sends to each outbox."""
    counts = {}
    for groups, path in asked.items():
        # The first page opens the file.
        await readers[groups].get(path)
        statements[groups].clear()
        page = await readers[groups].get(path)
        if page.status != 200:
            raise RuntimeError(f"{path} with {groups:,} groups: {page.status}")
        counts[groups] = len(statements[groups])
    few, *_, many = counts
    same = len(set(counts.values())) == 1
    cells = (str(counts[many]), str(counts[few]), significant(counts[many] / counts[few]))
    return Row(what, f"statements, {many:,}: {few} groups", *cells, "1", met=same)


async def page_times(readers: dict[int, Visitor], runs: int) -> Times:
    """Return the milliseconds of the list for each number of groups."""
    found: Times = {groups: [] for groups in readers}
    for run in range(runs + 1):
        for groups, reader in readers.items():
            took = []
            for _ in range(CALLS):
                began = time.perf_counter()
                await reader.get(LIST)
                took.append(1e3 * (time.perf_counter() - began))
            if run:
                found[groups].append(statistics.median(took))
    return found


if __name__ == "__main__":
    sys.exit(main())
