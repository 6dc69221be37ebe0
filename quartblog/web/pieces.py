"""Template and values -> HTML, rendered once for equal values: cards, forms and the frame are the same on many pages.

A template calls `piece("pieces/card.html", post=post, age=age)`. The template of a piece uses these values, and no
request, visitor or session; a test reads the templates. So the key of a kept piece, its template, its language and
its values, contains everything that the piece shows, and nothing ever has to be invalidated. No value may be a text
that the visitor wrote into the address: a stranger could fill the store with pieces that nobody needs.
"""

import sys
from datetime import datetime
from types import NoneType

from cachetools import LRUCache
from jinja2 import Environment
from markupsafe import Markup
from quart import Quart

from quartblog.web.i18n import locale

# Bytes kept per process: a page has about 60,000, most of them in cards, which pages share.
MOST = 16_000_000

# Bytes of a key and of its entry, which `sys.getsizeof` of the piece does not count.
_ENTRY = 1_000
# Types whose equal values look the same. A class identifies a form.
_PLAIN = {str, int, datetime, NoneType}


class Pieces:
    """Renders pieces of pages, and keeps those used last."""

    def __init__(self, environment: Environment, most: int = MOST) -> None:
        """`most`: bytes to keep, 0 for none."""
        self._environment = environment
        self._kept: LRUCache[object, Markup] = LRUCache(most, getsizeof=lambda piece: _ENTRY + sys.getsizeof(piece))

    async def __call__(self, template: str, /, **values: object) -> Markup:
        """Return the template rendered with `values`: texts, numbers, datetimes, None, and tuples of these.

        Raise TypeError for another value, whose change the key would not show.
        """
        # With the types: Markup equals a text that would be escaped, and True equals 1.
        key = (template, locale(), *((name, type(value), value) for name, value in values.items()))
        try:
            kept = self._kept.get(key)
        except TypeError:  # It is not hashable, so it is refused below.
            kept = None
        if kept is not None:
            return kept
        for name, value in values.items():
            if type(value) not in {bool, Markup} and (unfit := _unfit(value)):
                raise TypeError(f"{template}: {name} contains a {unfit.__name__}, which no piece can be kept by")
        piece = Markup(await self._environment.get_template(template).render_async(values))  # noqa: S704
        if not self._environment.auto_reload and _ENTRY + sys.getsizeof(piece) <= self._kept.maxsize:
            self._kept[key] = piece
        return piece


def init_app(app: Quart) -> Pieces:
    """Give every template `piece()`, and return it."""
    pieces = Pieces(app.jinja_env)
    app.jinja_env.globals["piece"] = pieces
    return pieces


def _unfit(value: object) -> type | None:
    """Return the type of the first value, in tuples too, that is not plain."""
    if not isinstance(value, tuple):
        kind = type(value)
        return None if kind in _PLAIN or issubclass(kind, type) else kind
    if _PLAIN.issuperset(map(type, value)):
        return None
    return next(filter(None, map(_unfit, value)), None)
