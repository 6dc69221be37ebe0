"""Exception -> the same types, causes and frames, without what it says."""

from __future__ import annotations

import os

DEPTH = 10
"""Causes, and members of one group, that are kept."""


def wordless(error: BaseException, depth: int = DEPTH) -> BaseException:
    """Return an exception of the same type, at the same place, that says nothing.

    For exceptions that nobody caught, outside of any scope: whatever a stranger sent may stand in their text, and
    nothing tells what is to be hidden. The system's own words of an OSError stay, without a file's name.
    """
    bare = _bare(error, depth)
    bare.__suppress_context__ = error.__suppress_context__
    if depth > 0:
        for name in ("__cause__", "__context__"):
            if (behind := getattr(error, name)) is not None:
                setattr(bare, name, wordless(behind, depth - 1))
        # Setting a cause suppresses the context.
        bare.__suppress_context__ = error.__suppress_context__
    return bare.with_traceback(error.__traceback__)


def _bare(error: BaseException, depth: int) -> BaseException:
    if isinstance(error, BaseExceptionGroup):
        members = [wordless(member, depth - 1) for member in error.exceptions[:DEPTH]] if depth > 0 else []
        return BaseExceptionGroup("", members or [Exception()])
    kind = type(error)
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return OSError(error.errno, os.strerror(error.errno))
    try:
        bare = kind.__new__(kind)
        bare.args = ()
        # A class of its own kind may say something without arguments, or fail to.
        return bare if not str(bare) else Exception(kind.__qualname__)
    except Exception:  # noqa: BLE001 - a constructor may want anything
        return Exception(kind.__qualname__)
