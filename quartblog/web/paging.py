"""Query parameters -> the key at which a page of a timeline begins."""

from quart import request

# The largest integer key of PostgreSQL, which refuses a larger value.
_LARGEST_KEY = 2**31 - 1


def asked_keys() -> dict[str, int | None]:
    """Return the keys `before` and `after` that the address asks for; None for a missing or an invalid one."""
    return {name: _key(request.args.get(name)) for name in ("before", "after")}


def _key(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return min(int(text), _LARGEST_KEY)
