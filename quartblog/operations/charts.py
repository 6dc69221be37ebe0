"""Counts -> a small bar chart as SVG, without script and style."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape


class Bar(NamedTuple):
    """One bar of a chart."""

    size: float
    title: str = ""
    """What a pointer that rests on the bar reads."""
    highest: float = 0.0
    """The end of a thin line above the bar, as for a percentile above a median."""


def chart(bars: Sequence[Bar], label: str, *, width: int = 4, height: int = 24) -> Markup:
    """Draw the bars, each `width` pixels wide with the gap; `label` says in words what the chart shows."""
    most = max((max(bar.size, bar.highest) for bar in bars), default=0) or 1
    drawn = []
    for place, bar in enumerate(bars):
        title = f"<title>{escape(bar.title)}</title>" if bar.title else ""
        for size, left, wide in ((bar.highest, width // 2 - 1, 1), (bar.size, 0, width - 1)):
            if size:
                # One error must be seen beside a thousand.
                high = max(2, round(height * size / most))
                drawn.append(
                    f'<rect x="{place * width + left}" y="{height - high}" width="{wide}" height="{high}">'
                    f"{title}</rect>"
                )
    whole = width * max(len(bars), 1)
    return Markup(  # noqa: S704  numbers, and escaped texts
        f'<svg class="bars" width="{whole}" height="{height}" viewBox="0 0 {whole} {height}" role="img"'
        f' aria-label="{escape(label)}" fill="currentColor">'
        f'<rect y="{height - 1}" width="{whole}" height="1" opacity=".3"/>{"".join(drawn)}</svg>'
    )


def delays(minutes: Sequence[Mapping[str, float] | None], label: str) -> Markup:
    """Draw the median of each minute, and a line up to its 99th percentile."""
    return chart([Bar(found["median_ms"], highest=found["p99_ms"]) if found else Bar(0) for found in minutes], label)
