"""Counts -> a small bar chart as SVG, without script and style."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

HEIGHT = 24
BAR = 4


def bars(counts: Sequence[float], label: str, behind: Sequence[float] = ()) -> Markup:
    """Draw a bar for each count, in front of pale ones for those `behind`; `label` says in words what it shows."""
    most = max(*counts, *behind, 0) or 1
    width = BAR * max(len(counts), 1)
    drawn = [
        f'<rect x="{place * BAR}" y="{HEIGHT - height}" width="{BAR - 1}" height="{height}"{shade}/>'
        for series, shade in ((behind, ' opacity=".35"'), (counts, ""))
        for place, count in enumerate(series)
        # An hour with one error must be seen beside one with a thousand.
        if (height := max(2, round(HEIGHT * count / most)) if count else 0)
    ]
    return Markup(  # noqa: S704  numbers, and an escaped label
        f'<svg class="bars" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" role="img"'
        f' aria-label="{escape(label)}" fill="currentColor">'
        f'<rect y="{HEIGHT - 1}" width="{width}" height="1" opacity=".3"/>{"".join(drawn)}</svg>'
    )


def delays(minutes: Sequence[Mapping[str, float] | None], label: str) -> Markup:
    """Draw the median of each minute in front of its 99th percentile."""
    medians, highest = ([found[name] if found else 0.0 for found in minutes] for name in ("median_ms", "p99_ms"))
    return bars(medians, label, highest)
