"""Figures, or why there are none -> rows -> one table that fits a terminal."""

from __future__ import annotations

import statistics
import textwrap
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HEAD = ("row", "figure", "ours", "peer", "ratio", "must be", "aim", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    figure: str
    ours: str
    peer: str
    ratio: str
    must_be: str
    met: bool
    lost: int = 0
    """Errors that nobody will hear of: with any, the figure is worth nothing."""
    aim: str = ""
    """What it would be at best: only reported."""

    @property
    def holds(self) -> bool:
        """Whether the figure is what it must be, and honest."""
        return self.met and not self.lost

    @property
    def cells(self) -> tuple[str, ...]:
        """As they are printed."""
        verdict = f"NO: {self.lost:,} lost" if self.lost else "NO" if not self.met else "yes" if self.must_be else ""
        return (self.name, self.figure, self.ours, self.peer, self.ratio, self.must_be, self.aim, verdict)


@contextmanager
def attempt(rows: dict[str, Row], names: Iterable[str]) -> Iterator[None]:
    """Measure these rows; those that fail say so in the table, and cost none of the others its figures."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  whatever a server, a peer or a library has met
        traceback.print_exception(error)
        why = textwrap.shorten(f"NOT MEASURED: {str(error) or type(error).__name__}", 70, placeholder=" …")
        for name in names:
            rows.setdefault(name, Row(name, why, "", "", "", "", met=False))


def median_ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median of the ratios run by run: what slows the machine for a while slows both sides of a run."""
    return statistics.median(one / other for one, other in zip(of, to, strict=True))


def significant(number: float) -> str:
    """Three digits are what a noisy machine can tell."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def text(rows: Iterable[Row]) -> str:
    """The table, without the aims if there are none."""
    lines = [HEAD, *(row.cells for row in rows)]
    aim = HEAD.index("aim")
    if not any(cells[aim] for cells in lines[1:]):
        lines = [cells[:aim] + cells[aim + 1 :] for cells in lines]
    return columns(lines)


def columns(lines: Sequence[Sequence[str]], *, left: int = 2) -> str:
    """The lines in columns, the first ones of words to the left, the others of numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in lines
    )
