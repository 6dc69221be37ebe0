"""Record -> its exception and the causes as types and frames, for a sink that wants more than the traceback's text.

A frame has its place and its line of source, and none of its variables.
"""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, NamedTuple

from ..text.exc_info import snapshot_of
from ..text.exceptions import type_name
from .fingerprint import is_own, relative_path

if TYPE_CHECKING:
    import logging

    from ..text.exceptions import Link
    from ..text.stacks import Step

MOST_FRAMES = 200
"""Frames of one exception: the outermost and the innermost ones. A recursion may have thousands."""


class Frame(NamedTuple):
    """One frame of a traceback."""

    path: str
    """Relative to the folder that Python imported the file from, as in `Event.place`."""
    function: str
    line: int
    source: str
    """That line of the file, "" where the file cannot be read."""
    own: bool
    """Whether it is the program's own code, and not a library's."""


class Failure(NamedTuple):
    """An exception or one of its causes."""

    kind: str
    """Its type as `module.Class`, builtins without their module."""
    message: str
    """Redacted like the record's message; "" for a cause, whose message is in the traceback's text alone."""
    frames: tuple[Frame, ...]
    """The outermost first."""


def failures(record: logging.LogRecord) -> tuple[Failure, ...]:
    """Return the record's exception, then its cause, that one's cause, and so on; nothing without an exception."""
    snapshot = snapshot_of(record)
    if snapshot is None:
        return ()
    first, *causes = (Failure(type_name(link.kind) or "", "", tuple(_frames(link))) for link in snapshot.links)
    return (first._replace(message=snapshot.message), *causes)


def _frames(link: Link) -> list[Frame]:
    steps = link.stack.steps if link.stack is not None else ()
    if len(steps) > MOST_FRAMES:
        half = MOST_FRAMES // 2
        steps = (*steps[:half], *steps[-half:])
    return [_frame(step) for step in steps]


def _frame(step: Step) -> Frame:
    code = step.code
    # An instruction that belongs to no source line has none.
    line = step.line or code.co_firstlineno
    source = linecache.getline(code.co_filename, line).strip()
    return Frame(relative_path(code.co_filename), code.co_qualname, line, source, is_own(code.co_filename))
