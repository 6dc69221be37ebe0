"""Message -> the message without what varies from one failure to the next."""

from __future__ import annotations

import re
from functools import lru_cache

from .escaping import one_line

LIMIT = 1_000
"""Characters of a message that tell it from others."""

_VARYING = re.compile(
    r"""
    (?P<uuid> \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b )
  | (?P<address> \b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8} )
  | (?P<text> (?<!\w)(?:'[^'\n]*'|"[^"\n]*")(?!\w) )
  | (?P<path> (?<![\w/<])(?:[A-Za-z]:\\|\.{0,2}/)[^\s'"<>,;:()\[\]{}]+ )
  | (?P<n> \b(?:0x[0-9a-fA-F]+|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,})\b | [0-9]+(?:[.,][0-9]+)* )
    """,
    re.VERBOSE,
)


def normalised(message: str) -> str:
    """One line, with numbers, ids, quoted texts, paths and addresses replaced by their kind, such as `<n>`."""
    return _normalised(message[:LIMIT])


@lru_cache(maxsize=1024)
def _normalised(message: str) -> str:
    return one_line(_VARYING.sub(lambda match: f"<{match.lastgroup}>", message))
