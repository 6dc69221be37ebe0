"""Username -> a small SVG drawing, so that no third-party avatar service learns who visits.

The name's hash chooses the background, the colour of a circle and the corner of the circle. Colours are SVG attributes,
never a `style`, because the pages' Content-Security-Policy refuses inline styles.
"""

from __future__ import annotations

from colorsys import hls_to_rgb
from functools import lru_cache
from hashlib import blake2s
from typing import Final

from markupsafe import Markup

INK: Final = "#ffffff"
"""The colour of the initial."""

CONTRAST: Final = 4.5
"""The contrast ratio between text and background that WCAG AA requires."""

_CORNERS: Final = ((0, 0), (48, 0), (48, 48), (0, 48))
_DRAWING: Final = Markup(
    '<svg class="avatar" width="{size}" height="{size}" viewBox="0 0 48 48" aria-hidden="true" focusable="false">'
    '<rect width="48" height="48" fill="{ground}"/>'
    '<circle cx="{x}" cy="{y}" r="{radius}" fill="{tint}"/>'
    '<text x="24" y="25" fill="{ink}" font-size="24" font-weight="600" text-anchor="middle" '
    'dominant-baseline="central">{initial}</text></svg>'
)


@lru_cache(maxsize=1024)
def avatar(username: str, size: int = 48) -> Markup:
    """Draw the avatar of a name, `size` pixels square. The same name always gives the same drawing.

    Any string works, even one that is not a valid username.
    """
    digest = blake2s(username.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    hue = int.from_bytes(digest[:2], "big") % 360
    x, y = _CORNERS[digest[2] % len(_CORNERS)]
    return _DRAWING.format(
        size=size,
        ground=shade(hue),
        tint=shade((hue + 40) % 360),
        x=x,
        y=y,
        radius=26 + digest[3] % 16,
        ink=INK,
        initial=initial(username),
    )


def initial(username: str) -> str:
    """Return the first letter or digit as a capital; `?` for a name without any."""
    first = next((character for character in username if character.isalnum()), "?")
    capital = first.upper()
    return capital if len(capital) == 1 else first


@lru_cache(maxsize=360)
def shade(hue: int) -> str:
    """Return the lightest colour of a hue, in degrees, on which white text has enough contrast."""
    # Yellow looks far lighter than blue at equal HLS lightness, so each hue needs a different darkening.
    shades = (_hex(hls_to_rgb(hue / 360, percent / 100, 0.5)) for percent in range(60, -1, -1))
    return next(colour for colour in shades if contrast(INK, colour) >= CONTRAST)


def contrast(one: str, other: str) -> float:
    """Return the WCAG contrast ratio of two `#rrggbb` colours, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _hex(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in rgb)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
