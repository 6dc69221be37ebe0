"""Counts -> a small bar chart as SVG, without script and style."""

from collections.abc import Sequence

from markupsafe import Markup, escape

HEIGHT = 24
BAR = 4


def bars(counts: Sequence[int], label: str) -> Markup:
    """Draw a bar for each count; `label` says in words what it shows."""
    most = max(counts, default=0) or 1
    width = BAR * max(len(counts), 1)
    drawn = [
        f'<rect x="{place * BAR}" y="{HEIGHT - height}" width="{BAR - 1}" height="{height}"/>'
        for place, count in enumerate(counts)
        # An hour with one error must be seen beside one with a thousand.
        if (height := max(2, round(HEIGHT * count / most)) if count else 0)
    ]
    return Markup(  # noqa: S704  numbers, and an escaped label
        f'<svg class="bars" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" role="img"'
        f' aria-label="{escape(label)}" fill="currentColor">'
        f'<rect y="{HEIGHT - 1}" width="{width}" height="1" opacity=".3"/>{"".join(drawn)}</svg>'
    )
