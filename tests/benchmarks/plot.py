"""Figures by page and site -> an SVG of bars, readable on a light and on a dark ground."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WIDTH, LABEL, BAR, GAP = 720, 110, 16, 18
OURS, THEIRS = "#2f7d5b", "#a3a8b0"


def bars(figures: Mapping[str, Mapping[str, float]], sites: Sequence[str]) -> str:
    """Draw microseconds of processor time: a group of bars for each page, a bar for each site, the first one ours."""
    most = max((found[site] for found in figures.values() for site in sites if site in found), default=1.0)
    parts: list[str] = []
    y = 30
    for page, found in figures.items():
        parts.append(f'<text x="0" y="{y + BAR - 4}" font-weight="bold">{escape(page)}</text>')
        for number, site in enumerate(sites):
            if site in found:
                parts += _bar(y, site, found[site], most, THEIRS if number else OURS)
                y += BAR + 3
        y += GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
        'font-family="sans-serif" font-size="12" fill="#767b84" role="img">'
        "<title>Processor time of a request, by page and site</title>"
        '<text x="0" y="14">Processor time of a request in microseconds; shorter is cheaper</text>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _bar(y: int, site: str, micros: float, most: float, colour: str) -> Iterator[str]:
    room = WIDTH - 2 * LABEL - 60
    width = max(1, round(micros / most * room))
    yield f'<text x="{LABEL}" y="{y + BAR - 4}">{escape(site)}</text>'
    yield f'<rect x="{2 * LABEL - 20}" y="{y}" width="{width}" height="{BAR}" rx="2" fill="{colour}"/>'
    yield f'<text x="{2 * LABEL - 14 + width}" y="{y + BAR - 4}">{micros:,.0f}</text>'
