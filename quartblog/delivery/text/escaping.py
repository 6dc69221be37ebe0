r"""What a stranger typed -> text that cannot break a line, a terminal, a header or an encoder.

Escaped are C0 and C1 control characters, DEL, the line separators U+0085, U+2028 and U+2029, the
bidirectional overrides (they reorder what an operator reads) and lone surrogates (UTF-8 refuses
them). Each becomes its Python escape, such as `\n` or `\u2028`; everything else stays as it is.
"""

import re

LONGEST = 65_536
"""Characters of one free text that are kept: a message, an exception's words, a note. So a record is bounded."""

_CONTROL = "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_A_LINE = re.compile(f"[\x00-\x1f{_CONTROL}]")
# Line feeds and tabs give a traceback its shape.
_IN_A_BLOCK = re.compile(f"[\x00-\x08\x0b-\x1f{_CONTROL}]")
_UNPRINTABLE_ASCII = bytes({*range(0x20), 0x7F} - {*b"\t\n"})
_LEFT_OUT = re.compile(r" … \((\d+) characters left out\) … ")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def one_line(text: str) -> str:
    """The text as exactly one line: fit for a log line or a mail header."""
    return _IN_A_LINE.sub(_escape, text)


def block(text: str) -> str:
    """The text with its line feeds and tabs kept: fit for a traceback or the body of a mail."""
    # Five times faster than the search, for the one text in a record that is long.
    if text.isascii() and len(text.encode().translate(None, _UNPRINTABLE_ASCII)) == len(text):
        return text
    return _IN_A_BLOCK.sub(_escape, text)


def json_safe(text: str) -> str:
    """Finished JSON on one line for every reader, also those that split at U+2028."""
    return _IN_A_LINE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def shortened(text: str, limit: int) -> str:
    """At most about `limit` characters: the beginning, the end, and how much was left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}{left_out(len(text) - 2 * half)}{text[-half:]}"


def left_out(characters: int) -> str:
    """What stands in the place of so many."""
    return f" … ({characters} characters left out) … "


def cut_in(text: str) -> re.Match[str] | None:
    """Where `shortened` has left something out, which is always in the middle; group 1 is how much."""
    if "characters left out" not in text:
        return None
    middle = len(text) // 2
    # A narrow window: what a stranger has typed beside the cut must not be taken for it.
    found = _LEFT_OUT.search(text, max(0, middle - 26), middle + 26)
    return found if found is not None and found.start() == len(text) - found.end() else None
