"""Text of a record -> the same text without the values that a visitor sent, and without e-mail addresses.

An allow-list decides which facts of a request a record has (`context.Scope`). Redaction is for the free texts: a
message, an exception's message, extra values. It replaces every value that the scope hides, and every e-mail address
except the operator's own. Source lines in a traceback come from files and stay as they are.

A value of four characters and more is hidden anywhere. A shorter one is hidden where it stands alone, without an ASCII
letter, digit or underscore beside it, because most texts contain it inside of words. So a scope should hide a short
value only if it is secret. White space alone is never hidden.

A shortened text may have been cut in the middle of a value. Text beside the cut that may be a part of a value or of an
address is left out as well, however short it is.
"""

from __future__ import annotations

import json
import re
import string
from typing import TYPE_CHECKING

from ..own_log import describe, report, reraise_interrupt
from .escaping import cut_in, left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..context import Scope

    Span = tuple[int, int]

REDACTED = "[redacted]"

ANYWHERE = 4
"""Characters from which a value is hidden inside of words as well."""
MOST = 200
"""Values of one scope that are hidden at most: the longest ones. No form of a site has more."""
LONGEST_ADDRESS = 320
"""Characters of an e-mail address at most: this many of a cut word are left out."""

# Possessive, and never begun in the middle of a word: this runs over texts that strangers choose.
_WORD = r"\w.!#$%&'*+/=?^`{|}~-"
_ADDRESS = re.compile(rf"(?<![{_WORD}])['`*|{{}}/=]*+(?P<address>[{_WORD}]++@[\w-]++(?:\.[\w-]++)++)")
_IN_AN_ADDRESS = re.compile(rf"[@{_WORD}]*+")
_QUOTED = frozenset("'\"\\")
_WORD_CHARACTERS = frozenset(f"{string.ascii_letters}{string.digits}_")


class Redactor:
    """Hides what a visitor sent."""

    def __init__(self, keep: Iterable[str] = ()) -> None:
        """Show the e-mail addresses in `keep`, such as the operator's own."""
        self._keep = frozenset(address.lower() for address in keep)
        self._failed = False

    def for_scope(self, scope: Scope | None) -> Callable[[str], str]:
        """Return a function that hides the values of this piece of work in a text. Without such values it is cheap."""
        try:
            values = _hidden(scope) if scope is not None else []
        except BaseException as error:  # noqa: BLE001  a record without text is better than one that shows too much
            reraise_interrupt(error)
            if not self._failed:
                self._failed = True
                report(f"a scope could not name the values to hide, so its records show no text: {describe(error)}")
            return lambda _: REDACTED
        return lambda text: self._without(values, text)

    def _without(self, values: Sequence[str], text: str) -> str:
        spans = [span for value in values if value in text for span in _places(value, text)]
        if "@" in text:
            spans += self._addresses(text)
        cut = cut_in(text)
        if cut is not None:
            spans.append(_widened(cut, values))
        if not spans:
            return text
        shown: list[str] = []
        done = 0
        for start, end in _joined(spans):
            instead = REDACTED
            if cut is not None and start <= cut.start() < end:
                instead = left_out(int(cut[1]) + end - start - len(cut[0]))
            shown += (text[done:start], instead)
            done = end
        return "".join([*shown, text[done:]])

    def _addresses(self, text: str) -> Iterator[Span]:
        for found in _ADDRESS.finditer(text):
            if found["address"].lower().rstrip("'`") not in self._keep:
                yield found.span("address")


def _hidden(scope: Scope) -> list[str]:
    """Return the values, as they are, and as JSON and `repr` write them, and `repr` their bytes."""
    values = [value for value in scope.hidden() if len(value) >= ANYWHERE or value.strip()]
    found = sorted(values, key=len, reverse=True)[:MOST]
    return found + [written for value in found for written in _written(value) if written != value]


def _written(value: str) -> set[str]:
    """Return the value as other texts quote it; nothing for most, which stay as they are."""
    if value.isascii() and value.isprintable() and _QUOTED.isdisjoint(value):
        return set()
    encoded = value.encode("utf-8", "surrogatepass")
    return {repr(value)[1:-1], repr(encoded)[2:-1], json.dumps(value)[1:-1]}


def _places(value: str, text: str) -> Iterator[Span]:
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        hidden = len(value) >= ANYWHERE or _WORD_CHARACTERS.isdisjoint(
            text[max(0, start - 1) : start] + text[end : end + 1]
        )
        if hidden:
            yield start, end
        start = text.find(value, end if hidden else start + 1)


def _widened(cut: re.Match[str], values: Sequence[str]) -> Span:
    """Return the span of the cut, with everything beside it that may be a part of a value or of an address."""
    before, after = cut.string[: cut.start()], cut.string[cut.end() :]
    backwards = [value[::-1] for value in values]
    return cut.start() - _rest(before[::-1], backwards), cut.end() + _rest(after, values)


def _rest(text: str, values: Iterable[str]) -> int:
    """Return how many characters at the beginning of the text may be the end of a value, or of an address."""
    found = _IN_AN_ADDRESS.match(text, 0, LONGEST_ADDRESS)
    return max(found.end() if found else 0, *(_overlap(value, text) for value in values), 0)


def _overlap(value: str, text: str) -> int:
    """Return how many characters at the end of the value are the beginning of the text."""
    start = max(0, len(value) - len(text))
    while start >= 0 and not text.startswith(value[start:]):
        start = value.find(text[0], start + 1)
    return len(value) - start if start >= 0 else 0


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in their order, overlapping ones joined."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
