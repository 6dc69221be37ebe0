"""Text of a record -> the same text without what a visitor sent, and without e-mail addresses.

An allow-list decides what a record tells of a request (`context.Scope`). What is left are free texts: a message, an
exception's own words. There every value the visitor sent is replaced where it stands, and every e-mail address that
is not the operator's own. Source lines in a traceback come from files and stay as they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..stderr import describe, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..context import Scope

REDACTED = "[redacted]"

SHORTEST = 4
"""Characters a value has at least to be replaced: shorter ones stand in half the words of any text."""
MOST = 200
"""Values of one request that are looked for; a form with more is no form of ours."""

# Possessive, and never begun in the middle of a word: this runs over texts that strangers choose.
_WORD = r"\w.!#$%&'*+/=?^`{|}~-"
_ADDRESS = re.compile(rf"(?<![{_WORD}])(?P<before>['`*|{{}}/=]*+)(?P<address>[{_WORD}]++@[\w-]++(?:\.[\w-]++)++)")


class Redactor:
    """Hides what a visitor sent. `keep`: e-mail addresses that may be shown, such as the operator's own."""

    def __init__(self, keep: Iterable[str] = ()) -> None:
        self._keep = frozenset(address.lower() for address in keep)
        self._failed = False

    def for_scope(self, scope: Scope | None) -> Callable[[str], str]:
        """What hides the values of this piece of work in a text. Cheap where there is nothing to hide."""
        try:
            values = _hidden(scope) if scope is not None else []
        except Exception as error:  # noqa: BLE001  a record without its words beats one that tells too much
            if not self._failed:
                self._failed = True
                report(f"what a visitor sent cannot be told, so the words of records are left out: {describe(error)}")
            return lambda _: REDACTED
        if not values:
            return self._addresses

        def hide(text: str) -> str:
            for value in values:
                if value in text:
                    text = text.replace(value, REDACTED)
            return self._addresses(text)

        return hide

    def _addresses(self, text: str) -> str:
        return _ADDRESS.sub(self._address, text) if "@" in text else text

    def _address(self, found: re.Match[str]) -> str:
        if found["address"].lower().rstrip("'`") in self._keep:
            return found[0]
        return f"{found['before']}{REDACTED}"


def _hidden(scope: Scope) -> list[str]:
    """The values, and how repr() writes them: the longest first, for one may be a part of another."""
    longest_first = sorted((value for value in scope.hidden() if len(value) >= SHORTEST), key=len, reverse=True)
    found = longest_first[:MOST]
    return found + [written for value in found if (written := repr(value)[1:-1]) != value]
