"""The name one failure carries everywhere: error page, log line, mail and operations page."""

import secrets

# Crockford's base32: no i, l, o or u, so an id read out on the telephone is typed in right.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 12
_SHIFTS = range(0, 5 * LENGTH, 5)


def new_error_id() -> str:
    """Twelve characters, 60 random bits: two equal ones are not expected within a billion errors."""
    number = secrets.randbits(5 * LENGTH)
    return "".join([ALPHABET[number >> shift & 31] for shift in _SHIFTS])
