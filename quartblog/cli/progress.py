"""How much is done -> standard error: a bar in a terminal, else a line every ten seconds."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import click

from quartblog.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPORT = 10.0
"""Seconds between two lines."""


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how much of the whole is done."""
    if sys.stderr.isatty():
        with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

            def draw(done: int, total: int) -> None:
                bar.length = max(total, 1)
                bar.update(done - bar.pos)

            yield draw
        return
    shown = monotonic()

    def write(done: int, total: int) -> None:
        nonlocal shown
        if (now := monotonic()) - shown >= REPORT:
            shown = now
            say(f"{label}: {done / max(total, 1):.0%}", err=True)

    yield write
