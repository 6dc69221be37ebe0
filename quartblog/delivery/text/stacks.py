"""Traceback -> where its frames were, without the frames: one object for each place, and its text made once.

Formatting a stack of 30 frames costs half a millisecond: source lines are read, parsed and underlined. The result
depends only on where the frames are, so it is kept under their code objects and instructions.

A stack shows its source as it was when it was first formatted: a file that is edited while the program runs does not
change it. The standard Formatter would show the new text beside the old line numbers. Frames that Jinja makes for a
template are new with every error and always formatted.
"""

from __future__ import annotations

import itertools
import linecache
import traceback
from typing import TYPE_CHECKING, NamedTuple

from .cache import LruCache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, TracebackType

FRAMES = 20_000
"""Frames kept in all known stacks together, about 10 MB; the longest unused stack leaves first."""


class Step(NamedTuple):
    """One frame: no locals, no globals."""

    code: CodeType
    instruction: int
    line: int | None


class Stack:
    """The frames of one traceback, the outermost first. Equal only to itself."""

    __slots__ = ("_text", "steps")

    def __init__(self, steps: tuple[Step, ...]) -> None:
        """Nothing is formatted yet."""
        self.steps = steps
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The lines the standard library shows for it, made by the first who asks."""
        if self._text is None:
            self._text = _formatted(self.steps)
        return self._text


class StackCache:
    """The stacks of recent exceptions; safe from any thread and signal handler."""

    def __init__(self, frames: int = FRAMES) -> None:
        """`frames` bounds all stacks together."""
        self._stacks: LruCache[Stack] = LruCache(frames)

    def __len__(self) -> int:
        """How many stacks are kept."""
        return len(self._stacks)

    def of(self, trace: TracebackType) -> Stack:
        """The stack of the traceback; a known one in a few µs, and none is formatted here."""
        numbers: list[int] = []
        step: TracebackType | None = trace
        while step is not None:
            # The ids stay theirs: the stack kept under the key holds the code objects.
            instruction = step.tb_lasti
            numbers += (id(step.tb_frame.f_code), instruction)
            if instruction < 0:  # Made by hand, and the line is all there is.
                numbers.append(step.tb_lineno)
            step = step.tb_next
        key = tuple(numbers)
        found = self._stacks.get(key)
        if found is None:
            found = Stack(tuple(_steps(trace)))
            self._stacks.keep(key, found, len(found.steps))
        return found


def _steps(trace: TracebackType | None) -> Iterator[Step]:
    while trace is not None:
        frame = trace.tb_frame
        # Source may come from a module's loader, which only its globals know.
        linecache.lazycache(frame.f_code.co_filename, frame.f_globals)
        yield Step(frame.f_code, trace.tb_lasti, trace.tb_lineno)
        trace = trace.tb_next


def _formatted(steps: tuple[Step, ...]) -> str:
    for path in {step.code.co_filename for step in steps}:
        linecache.checkcache(path)
    return "".join(traceback.StackSummary.from_list(map(_summary, steps)).format())


def _summary(step: Step) -> traceback.FrameSummary:
    code = step.code
    line, end_line, column, end_column = _positions(code, step.instruction)
    return traceback.FrameSummary(
        code.co_filename,
        step.line if line is None else line,
        code.co_name,
        lookup_line=False,
        end_lineno=end_line,
        colno=column,
        end_colno=end_column,
    )


def _positions(code: CodeType, instruction: int) -> tuple[int | None, int | None, int | None, int | None]:
    if instruction < 0:
        return None, None, None, None
    return next(itertools.islice(code.co_positions(), instruction // 2, None))


STACKS = StackCache()
"""The cache of this process."""
