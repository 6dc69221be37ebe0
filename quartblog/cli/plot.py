"""Numbers over time -> a bar chart for the terminal, or a line of bars for a table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_HALVES = " .#"
HEIGHT = 8
"""Lines of the chart, without the time axis."""


def draws_blocks() -> bool:
    """Return whether standard output is a terminal that has the characters of the bars."""
    try:
        _EIGHTHS.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return sys.stdout.isatty()


def plot(samples: Sequence[tuple[float, int]], width: int, *, ascii_only: bool = False) -> str:
    """Draw ordered (seconds, number) samples in at most `width` cells; each column shows the peak of its time."""
    end = samples[-1][0] if samples else 0.0
    top = max((number for _, number in samples), default=0)
    label = len(f"{top:,}")
    columns = peaks(samples, max(10, width - label - 2))
    steps = _HALVES if ascii_only else _EIGHTHS
    heights = [_steps(number, top, HEIGHT * (len(steps) - 1)) for number in columns]
    edge = "|" if ascii_only else "│"
    lines = []
    for level in reversed(range(HEIGHT)):
        bars = "".join(steps[min(max(height - level * (len(steps) - 1), 0), len(steps) - 1)] for height in heights)
        mark = f"{top:,}" if level == HEIGHT - 1 else "0" if level == 0 else ""
        lines.append(f"{mark:>{label}} {edge}{bars}".rstrip())
    last = f"{end:.1f} s"
    lines.append(f"{'':>{label}}  0{last:>{len(columns) - 1}}")
    return "\n".join(lines)


def line(numbers: Sequence[int], *, ascii_only: bool = False) -> str:
    """Draw a bar for each number, all in one line."""
    steps = _HALVES if ascii_only else _EIGHTHS
    top = max(numbers, default=0)
    return "".join(steps[_steps(number, top, len(steps) - 1)] for number in numbers)


def peaks(samples: Sequence[tuple[float, int]], wanted: int) -> list[int]:
    """Return the peaks of `wanted` slices of time; a slice without a sample repeats the previous peak."""
    end = samples[-1][0] if samples else 0.0
    columns = [-1] * wanted
    for at, number in samples:
        place = min(int(at / end * wanted), wanted - 1) if end else 0
        columns[place] = max(columns[place], number)
    before = 0
    for place, number in enumerate(columns):
        before = columns[place] = before if number < 0 else number
    return columns


def _steps(number: int, top: int, steps: int) -> int:
    """Return the height of a bar in steps; at least one for a number above zero."""
    return max(round(number / top * steps), 1) if number else 0
