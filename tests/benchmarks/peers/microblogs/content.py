"""What the three peers show alike: people, posts, drawings of names, and how long ago something was."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from babel import Locale
from babel.dates import format_timedelta
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
PASSWORD = "correct horse"
PAGE_SIZE = 20
SIZE = (50, 1_000)
"""People, and posts altogether."""
_CHINESE = Locale("zh", "CN", script="Hans")


def names() -> list[str]:
    """Everybody."""
    return [f"person{number}" for number in range(SIZE[0])]


def bodies() -> list[str]:
    """What was written, the oldest first; about as long as what people write."""
    return [f"Post number {number}. " + "Some words about nothing. " * (1 + number % 4) for number in range(SIZE[1])]


def written_at(number: int) -> datetime:
    """When a post was written: one every ten minutes, the last one just now."""
    return datetime.now(UTC) - timedelta(minutes=10 * (SIZE[1] - number))


def ago(moment: datetime) -> Markup:
    """A `<time>` element in Chinese, as the blog has it."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    text = format_timedelta(moment - datetime.now(UTC), add_direction=True, locale=_CHINESE)
    # Not Babel's: a site in one language needs only the former in words, and this takes a fifth of the time.
    full = f"{moment:%Y年%m月%d日 UTC %H:%M:%S}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(timespec="seconds"), full, text)


@lru_cache(maxsize=1_024)
def avatar(name: str) -> Markup:
    """A drawing of a name."""
    hue = zlib.crc32(name.encode()) % 360
    return Markup(
        '<svg class="avatar" width="48" height="48" viewBox="0 0 48 48" aria-hidden="true" focusable="false">'
        '<rect width="48" height="48" fill="hsl({},50%,40%)"/><circle cx="48" cy="0" r="30" fill="hsl({},50%,45%)"/>'
        '<text x="24" y="25" fill="#ffffff" font-size="24" font-weight="600" text-anchor="middle" '
        'dominant-baseline="central">{}</text></svg>'
    ).format(hue, (hue + 40) % 360, name[0].upper())
