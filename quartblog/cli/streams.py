"""Standard output and error: what a terminal cannot show is escaped, so that no command dies of a character."""

from __future__ import annotations

import codecs
import io
import json
import sys

ESCAPING = "quartblog.escaped"
_ASCII = "quartblog_ascii"


def show_everything() -> None:
    """Let both streams take any text, whatever the environment says of their encoding."""
    codecs.register_error(ESCAPING, _escaped)
    codecs.register(_find)
    for stream in (sys.stdout, sys.stderr):
        # One that is closed is None, and one that somebody else has put there may be anything.
        if isinstance(stream, io.TextIOWrapper):
            # Click takes ASCII for a mistake and writes UTF-8 instead; it does so by the encoding's name.
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if is_ascii else None, errors=ESCAPING)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """As JSON escapes a character: `backslashreplace` would write some that JSON does not know."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _find(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII:
        return None
    found = codecs.lookup("ascii")
    return codecs.CodecInfo(
        found.encode,
        found.decode,
        found.streamreader,
        found.streamwriter,
        found.incrementalencoder,
        found.incrementaldecoder,
        name=_ASCII,
    )
