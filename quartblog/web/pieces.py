"""Template and values -> HTML, rendered once for equal values: cards, forms and the frame are the same on many pages.

A template calls `piece("posts/card.html", post=post, age=age)`. The template of a piece sees these values and the
globals of every template, but no request, visitor or session. So the key of a kept piece, its template, its language
and its values, holds everything that the piece shows, and nothing ever has to be invalidated.
"""

from collections.abc import Hashable

from cachetools import LRUCache
from jinja2 import Environment
from markupsafe import Markup
from quart import Quart

from quartblog.web.i18n import locale

# Characters kept per process: a page has about 30,000, most of them in cards, which pages share.
MOST = 8_000_000


class Pieces:
    """Renders pieces of pages, and keeps those used last."""

    def __init__(self, environment: Environment, most: int = MOST) -> None:
        """`most`: characters to keep, 0 for none."""
        self._environment = environment
        self._kept: LRUCache[Hashable, Markup] = LRUCache(most, getsizeof=len)

    async def __call__(self, template: str, /, **values: Hashable) -> Markup:
        """Return the template rendered with `values`: texts, numbers, datetimes, None, and tuples of these."""
        # With the types: Markup equals a text that would be escaped, and 1 equals True.
        key = (template, locale(), *((name, type(value), value) for name, value in values.items()))
        if (kept := self._kept.get(key)) is not None:
            return kept
        piece = Markup(await self._environment.get_template(template).render_async(values))  # noqa: S704
        if not self._environment.auto_reload and len(piece) <= self._kept.maxsize:
            self._kept[key] = piece
        return piece


def init_app(app: Quart) -> Pieces:
    """Give every template `piece()`, and return it."""
    pieces = Pieces(app.jinja_env)
    app.jinja_env.globals["piece"] = pieces
    return pieces
