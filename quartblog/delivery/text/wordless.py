"""Exception -> an exception of the same type, with the same traceback and without a message."""

from __future__ import annotations

import os

from ..interrupts import reraise_interrupt

DEPTH = 10
"""Causes of an exception, and members of a group, that are kept."""
MOST = 1_000
"""Exceptions that are kept of all: a group may have the same group as a member many times."""


def wordless(error: BaseException) -> BaseException:
    """Return an exception of the same type, if it can be made, with the same traceback and no message. Never raises.

    For exceptions that no code caught, outside of any scope: their message may hold what a visitor sent, and no scope
    names the values to hide. An OSError keeps the system's message, without the file's name.
    """
    try:
        return _wordless(error, DEPTH, [MOST])
    except BaseException as failure:  # noqa: BLE001  any attribute of an exception may raise anything
        reraise_interrupt(failure)
        return Exception("(an exception that cannot be examined)")


def _wordless(error: BaseException, depth: int, left: list[int]) -> BaseException:
    """`left` holds how many exceptions may still be kept, and is updated."""
    left[0] -= 1
    bare = _bare(error, depth, left)
    suppressed = error.__suppress_context__
    if depth > 0:
        for name in ("__cause__", "__context__"):
            if (behind := getattr(error, name)) is not None and left[0] > 0:
                setattr(bare, name, _wordless(behind, depth - 1, left))
    # Setting a cause suppresses the context.
    bare.__suppress_context__ = suppressed
    return bare.with_traceback(error.__traceback__)


def _bare(error: BaseException, depth: int, left: list[int]) -> BaseException:
    if isinstance(error, BaseExceptionGroup):
        first = error.exceptions[:DEPTH] if depth > 0 else ()
        members = [_wordless(member, depth - 1, left) for member in first if left[0] > 0]
        return BaseExceptionGroup("", members or [Exception()])
    kind = type(error)
    try:
        if isinstance(error, OSError) and isinstance(error.errno, int) and kind is type(OSError(error.errno, "")):
            return kind(error.errno, os.strerror(error.errno))
        bare = kind.__new__(kind)
        bare.args = ()
        # Without arguments, some classes have a message all the same, and some raise.
        if not str(bare) and bare.with_traceback(None) is bare:
            return bare
    except BaseException as failure:  # noqa: BLE001  a constructor may raise anything
        reraise_interrupt(failure)
    return Exception(kind.__qualname__)
