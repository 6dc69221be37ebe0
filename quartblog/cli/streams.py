"""Text -> standard output and error, with escapes for characters that their encoding lacks."""

from __future__ import annotations

import codecs
import io
import json
import sys

ESCAPING = "quartblog.escaped"
_ASCII = "quartblog_ascii"


def show_everything() -> None:
    """Make both streams accept any text, whatever encoding the environment sets."""
    codecs.register_error(ESCAPING, _escaped)
    codecs.register(_find)
    for stream in (sys.stdout, sys.stderr):
        # A closed stream is None, and a replaced one may be any object.
        if isinstance(stream, io.TextIOWrapper):
            # Click treats the encoding name "ascii" as a mistake and writes UTF-8; another name avoids that.
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if is_ascii else None, errors=ESCAPING)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Escape a character as in JSON; `backslashreplace` has escapes that JSON lacks."""
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
