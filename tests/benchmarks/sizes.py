"""The home page with few and with many posts, and deep in the past: what a page costs as a site grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.figures import take_turns
from tests.benchmarks.peers.microblogs.content import PAGE_SIZE
from tests.benchmarks.table import Row, significant
from tests.benchmarks.visitors import Page, Visitor, several

if TYPE_CHECKING:
    from tests.benchmarks.blogs import Blogs

SIZES = (10_000, 100_000, 1_000_000)
DEEP = 1_000
# Times the cost of the smaller site, or of the newer pages.
MOST, AIM = 1.2, 1.1
PAGES_ASKED = 50
"""Neighbouring pages that visitors take in turn: the same one again would tell more of what is kept than of posts."""


def size_rows(blogs: Blogs, runs: int, seconds: float) -> dict[str, Row]:
    """Compare the home pages of the sizes, and old pages with new ones of the largest."""
    lines: dict[str, Row] = {}
    few, more, most = (f"home, {posts:,} posts" for posts in SIZES)
    new, old = (f"pages {first:,} to {first + PAGES_ASKED - 1:,}" for first in (1, DEEP))
    wanted = {name: (posts, [at(posts)]) for name, posts in zip((few, more, most), SIZES, strict=True)}
    for name, first in ((new, 1), (old, DEEP)):
        wanted[name] = (SIZES[-1], [at(SIZES[-1], first + further) for further in range(PAGES_ASKED)])
    asked = {}
    for name, (posts, pages) in wanted.items():
        with table.attempt(lines, [f"sizes {name}"]):
            site = blogs.sized(posts)
            asked[name] = (site, several(Visitor(site.server.url), pages))
    found = take_turns(lines, "sizes", asked, runs, seconds)
    for name, other in ((more, few), (most, few), (old, new)):
        if name in found and other in found:
            ratio = table.median_ratio(found[name].micros, found[other].micros)
            what = f"{name}: {other}"
            cells = (str(found[name]), str(found[other]), significant(ratio))
            lines[what] = Row("sizes", what, *cells, f"<= {MOST:g}", ratio <= MOST, aim=f"{AIM:g}")
    return lines


def at(posts: int, number: int | None = None) -> Page:
    """Return the page of this number of a site with so many posts, by the key of its link; None is the home page."""
    newest = posts - ((number or 1) - 1) * PAGE_SIZE
    shown = range(newest, newest - PAGE_SIZE, -1)
    return Page("/" if number is None else f"/?before={newest + 1}", posts=shown)
