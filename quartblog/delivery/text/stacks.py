"""Traceback -> its stack, without the frames: equal tracebacks share one stack, whose text is made once.

Formatting a stack of 30 frames costs half a millisecond, because source lines are read, parsed and underlined. The
result depends only on where the frames are, so a cache keeps it under their code objects and instructions.

A stack shows its source as it was when the stack was first formatted. If a file is edited while the program runs, the
standard Formatter would show the new text beside the old line numbers. Jinja makes new frames for a template with each
error, so those are formatted each time.
"""

from __future__ import annotations

import contextlib
import itertools
import linecache
import threading
import traceback
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from ..forks import reset_after_fork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, TracebackType

FRAMES = 20_000
"""Frames of all cached stacks together, about 10 MB."""


class Step(NamedTuple):
    """One frame, without its locals and globals."""

    code: CodeType
    instruction: int
    line: int | None


class Stack:
    """The frames of one traceback, the outermost first. Equal only to itself."""

    __slots__ = ("_text", "steps")

    def __init__(self, steps: tuple[Step, ...]) -> None:
        """Keep the frames; `text` formats them."""
        self.steps = steps
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The lines of the standard library for this traceback, formatted on first use."""
        if self._text is None:
            self._text = _formatted(self.steps)
        return self._text


class StackCache:
    """An LRU cache of stacks; any thread, signal handler or forked child may use it."""

    def __init__(self, frames: int = FRAMES) -> None:
        """Keep at most `frames` frames in all stacks together. A larger stack is not kept at all."""
        self._limit = frames
        self._frames = 0
        self._stacks: OrderedDict[tuple[int, ...], Stack] = OrderedDict()
        self._lock = threading.RLock()
        reset_after_fork(self)

    def __len__(self) -> int:
        """Return the number of stacks."""
        return len(self._stacks)

    def of(self, trace: TracebackType | None) -> Stack | None:
        """Return the stack of the traceback, unformatted; a cached one in a few µs."""
        if trace is None:
            return None
        numbers: list[int] = []
        step: TracebackType | None = trace
        while step is not None:
            # The cached stack holds the code objects, so no other object gets their ids.
            instruction = step.tb_lasti
            numbers += (id(step.tb_frame.f_code), instruction)
            if instruction < 0:  # The traceback was made by hand and has only a line.
                numbers.append(step.tb_lineno)
            step = step.tb_next
        key = tuple(numbers)
        # Without the lock: the interpreter runs each of these steps as a whole.
        found = self._stacks.get(key)
        if found is None:
            found = Stack(tuple(_steps(trace)))
            self._keep(key, found)
        else:
            with contextlib.suppress(KeyError):  # Another thread has just evicted it.
                self._stacks.move_to_end(key)
        return found

    def _keep(self, key: tuple[int, ...], stack: Stack) -> None:
        if len(stack.steps) > self._limit:
            return
        with self._lock:
            if key in self._stacks:
                return
            self._stacks[key] = stack
            self._frames += len(stack.steps)
            while self._frames > self._limit:
                self._frames -= len(self._stacks.popitem(last=False)[1].steps)

    def reset_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may have held, in the middle of `_keep`."""
        self._lock = threading.RLock()
        self._frames = sum(len(stack.steps) for stack in self._stacks.values())


def _steps(trace: TracebackType | None) -> Iterator[Step]:
    while trace is not None:
        frame = trace.tb_frame
        # The source may come from a loader, which only the frame's globals name.
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
