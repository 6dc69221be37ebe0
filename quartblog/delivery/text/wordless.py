"""Exception -> one of the same type at the same place that says nothing."""

from __future__ import annotations

import os

from ..interrupts import reraise_interrupt

DEPTH = 10
"""Causes, and members of one group, that are kept."""


def wordless(error: BaseException) -> BaseException:
    """Return an exception of the same type where that can be made, at the same place, without words. Never raises.

    For exceptions that nobody caught, outside of any scope: their text may hold what a visitor sent, and no scope names
    the values to hide. An OSError keeps the system's own words, without a file's name.
    """
    try:
        return _wordless(error, DEPTH)
    except BaseException as failure:  # noqa: BLE001  an exception may raise anything from whatever it is asked
        reraise_interrupt(failure)
        return Exception("(an exception that cannot be examined)")


def _wordless(error: BaseException, depth: int) -> BaseException:
    bare = _bare(error, depth)
    suppressed = error.__suppress_context__
    if depth > 0:
        for name in ("__cause__", "__context__"):
            if (behind := getattr(error, name)) is not None:
                setattr(bare, name, _wordless(behind, depth - 1))
    # Setting a cause suppresses the context.
    bare.__suppress_context__ = suppressed
    return bare.with_traceback(error.__traceback__)


def _bare(error: BaseException, depth: int) -> BaseException:
    if isinstance(error, BaseExceptionGroup):
        members = [_wordless(member, depth - 1) for member in error.exceptions[:DEPTH]] if depth > 0 else []
        return BaseExceptionGroup("", members or [Exception()])
    kind = type(error)
    try:
        if isinstance(error, OSError) and isinstance(error.errno, int) and kind is type(OSError(error.errno, "")):
            return kind(error.errno, os.strerror(error.errno))
        bare = kind.__new__(kind)
        bare.args = ()
        # Some classes say something without arguments, or fail to.
        if not str(bare) and bare.with_traceback(None) is bare:
            return bare
    except BaseException as failure:  # noqa: BLE001  a constructor may want anything
        reraise_interrupt(failure)
    return Exception(kind.__qualname__)
