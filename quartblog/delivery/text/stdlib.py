"""Message and stack, as texts -> the standard library's TracebackException, by attributes that are not public.

Each has its reason below. `tests/delivery/test_stdlib.py` fails when a version of Python changes one of them.
"""

from __future__ import annotations

import traceback
from typing import Any


def set_message(part: traceback.TracebackException, message: str) -> None:
    """Replace the exception's message. Reading it is public, `str(part)`; writing it is not."""
    part._str = message  # type: ignore[attr-defined]  # noqa: SLF001  the reason is above


def set_stack(part: traceback.TracebackException, text: str) -> None:
    """Replace the exception's stack by a formatted text.

    `format` asks `part.stack` for its lines, which is documented for a StackSummary alone.
    """
    part.stack = _FormattedStack([text])  # type: ignore[list-item]  # the text is the only item


class _FormattedStack(traceback.StackSummary):
    def format(self, **_: Any) -> list[str]:
        return list(self)  # type: ignore[arg-type]  # the items are texts
