"""What the delivery uses of the standard library without a public way: all of it is here, with its reason.

`tests/delivery/test_stdlib.py` fails where a version of Python changes it.
"""

from __future__ import annotations

import traceback
from typing import Any


def set_words(part: traceback.TracebackException, words: str) -> None:
    """Replace what the exception says. Reading that is public, `str(part)`; only the attribute can be written."""
    part._str = words  # type: ignore[attr-defined]  # noqa: SLF001  the reason is above


def set_stack(part: traceback.TracebackException, text: str) -> None:
    """Let the exception show a stack that is formatted already.

    `format` asks `part.stack` for its lines, which is documented for a StackSummary alone.
    """
    part.stack = _Ready([text])  # type: ignore[list-item]  # the one item is the text


class _Ready(traceback.StackSummary):
    def format(self, **_: Any) -> list[str]:
        return list(self)  # type: ignore[arg-type]  # texts, see above
