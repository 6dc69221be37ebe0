r"""Text from a stranger -> text that breaks no line, terminal, header or encoder, and looks like no other text.

Each character that no reader sees becomes its Python escape, such as `\n`, `\u200b` or `\U000e0041`: it could reorder
the line, or make two different lines look the same. These are control characters, line and paragraph separators, all of
category Cf (bidirectional marks, zero-width characters, the soft hyphen, tags), the other characters that Unicode calls
default-ignorable (variation selectors, Hangul fillers), a few blank symbols, and lone surrogates, which UTF-8 refuses.
Everything else stays as it is, blanks of any width included.

So an emoji that joins several is spelled out. This happens in logs, mails and terminals, where a reliable line is worth
more than the picture. The site's pages show what was typed.
"""

import json
import re

LONGEST = 65_536
"""Characters kept of one free text (a message, an exception's message, a note), so that a record is bounded."""

_HIDDEN = (
    "\x7f-\x9f\xad\u034f"
    "\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"  # Arabic and Syriac format characters
    "\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # Hangul fillers, Khmer and Mongolian invisibles
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u2800\u3164"  # blank characters of Braille and Hangul
    "\ud800-\udfff"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    # From the first to the last of _HIDDEN_ASTRAL: each further range would slow down the search through every text.
    "\U000110bd-\U000e0fff"
)
_HIDDEN_ASTRAL = re.compile(
    "[\U000110bd\U000110cd\U00013430-\U00013442\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"  # tags and more variation selectors
)
_IN_A_LINE = re.compile(f"[\x00-\x1f{_HIDDEN}]")
# Line feeds and tabs give a traceback its shape.
_IN_A_BLOCK = re.compile(f"[\x00-\x08\x0b-\x1f{_HIDDEN}]")
_CONTROL = bytes((*range(0x20), 0x7F))
_LEFT_OUT = re.compile(r" … \((\d+) characters left out\) … ")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}" if _HIDDEN_ASTRAL.match(character) else character
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _escape_in_json(match: re.Match[str]) -> str:
    character = match.group()
    if character > "\uffff" and not _HIDDEN_ASTRAL.match(character):
        return character
    return json.dumps(character)[1:-1]  # a surrogate pair where JSON wants one


def one_line(text: str) -> str:
    """Return the text as exactly one line, for a log line or a mail header."""
    return text if _is_plain(text, _CONTROL) else _IN_A_LINE.sub(_escape, text)


def block(text: str) -> str:
    """Return the text with its line feeds and tabs, for a traceback or the body of a mail."""
    return text if _is_plain(text, _CONTROL.translate(None, b"\t\n")) else _IN_A_BLOCK.sub(_escape, text)


def json_safe(text: str) -> str:
    """Return finished JSON on one line, also for readers that split at U+2028, without invisible characters."""
    return text if _is_plain(text, _CONTROL) else _IN_A_LINE.sub(_escape_in_json, text)


def _is_plain(text: str, refused: bytes) -> bool:
    """Return whether it is ASCII without these bytes. Most texts are, and a search takes three to six times as long."""
    return text.isascii() and len(text.encode().translate(None, refused)) == len(text)


def shortened(text: str, limit: int, *, missing: int = 0) -> str:
    """Return about `limit` characters at most: the beginning, the end, and how much was left out between them.

    `missing` characters of the text were left out already, somewhere in the part that is left out here.
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}{left_out(len(text) - 2 * half + missing)}{text[len(text) - half :]}"


def left_out(characters: int) -> str:
    """Return the note that replaces this many characters."""
    return f" … ({characters} characters left out) … "


def cut_in(text: str) -> re.Match[str] | None:
    """Return where `shortened` has left something out, which is always in the middle; group 1 is how much."""
    if "characters left out" not in text:
        return None
    middle = len(text) // 2
    # A narrow window, because a stranger may have typed the same note elsewhere.
    found = _LEFT_OUT.search(text, max(0, middle - 26), middle + 26)
    return found if found is not None and found.start() == len(text) - found.end() else None
