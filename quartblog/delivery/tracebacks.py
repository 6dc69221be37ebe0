"""exc_info -> the text the standard Formatter writes, with the stack taken from a cache.

Formatting a stack of 30 frames costs half a millisecond: source lines are read, parsed and
underlined. The result depends only on where the frames are, so it is kept under the code objects
and instruction positions. What differs from one failure to the next (message, notes, groups,
causes, suggestions, syntax errors) is left to the standard library every time.

A stack shows its source as it was when it was first formatted: a file that is edited while the
program runs does not change it. The standard Formatter would show the new text beside the old
line numbers. Frames that Jinja makes for a template are new with every error and always formatted.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import traceback
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, TracebackType

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

FRAMES = 20_000
"""Frames kept in all cached stacks together, about 10 MB; the longest unused stack leaves first."""

_Key = tuple[int, ...]


class _Ready(traceback.StackSummary):
    """A stack that is formatted already: its one item is the text."""

    def format(self, **_: Any) -> list[str]:
        return list(self)  # type: ignore[arg-type]  # texts, see above


class StackCache:
    """The formatted stacks of recent exceptions; safe from any thread."""

    def __init__(self, frames: int = FRAMES) -> None:
        """`frames` bounds all stacks together."""
        self._bound = frames
        self._held = 0
        # The code objects are kept, so their ids stay theirs for as long as the key lives.
        self._stacks: OrderedDict[_Key, tuple[str, tuple[CodeType, ...]]] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """How many stacks are kept."""
        return len(self._stacks)

    def format_exception(self, exc_info: ExcInfo) -> str:
        """Byte for byte what `logging.Formatter().formatException(exc_info)` returns."""
        _, value, trace = exc_info
        if value is not None and not hasattr(sys, "tracebacklimit"):
            # An exception may misbehave in a hundred ways; what it then looks like is not ours.
            with contextlib.suppress(Exception):
                return self._compose(value, trace).removesuffix("\n")
        return _STANDARD.formatException(exc_info)

    def _compose(self, error: BaseException, trace: TracebackType | None) -> str:
        # Without frames the standard library composes everything else, which is cheap.
        whole = traceback.TracebackException(type(error), error, trace, limit=0, compact=True)
        if trace is None or not _stands_alone(whole):
            self._fill(whole, error, trace)
            return "".join(whole.format())
        last = "".join(whole.format_exception_only())
        return f"Traceback (most recent call last):\n{self._stack(trace)}{last}"

    def _fill(
        self,
        whole: traceback.TracebackException,
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        """Give every exception of the tree the stack it would have had."""
        todo: list[tuple[Any, Any, TracebackType | None]] = [(whole, error, trace)]
        while todo:
            part, source, frames = todo.pop()
            if frames is not None:
                part.stack = _Ready([self._stack(frames)])  # type: ignore[list-item]  # see _Ready
            for name in ("__cause__", "__context__"):
                if (child := getattr(part, name)) is not None:
                    origin = getattr(source, name)
                    todo.append((child, origin, origin.__traceback__))
            if part.exceptions is not None:
                for child, origin in zip(part.exceptions, source.exceptions, strict=True):
                    todo.append((child, origin, origin.__traceback__))

    def _stack(self, trace: TracebackType) -> str:
        numbers: list[int] = []
        step: TracebackType | None = trace
        while step is not None:
            # The line matters too: for instructions without a position it is all there is.
            numbers += (id(step.tb_frame.f_code), step.tb_lasti, step.tb_lineno)
            step = step.tb_next
        key = tuple(numbers)
        with self._lock:
            found = self._stacks.get(key)
            if found is not None:
                self._stacks.move_to_end(key)
                return found[0]
        text = _format_stack(trace)
        self._keep(key, text, _codes(trace))
        return text

    def _keep(self, key: _Key, text: str, codes: tuple[CodeType, ...]) -> None:
        if len(codes) > self._bound:
            return
        with self._lock:
            if key in self._stacks:
                return
            self._stacks[key] = (text, codes)
            self._held += len(codes)
            while self._held > self._bound:
                _, (_, gone) = self._stacks.popitem(last=False)
                self._held -= len(gone)


def _stands_alone(whole: traceback.TracebackException) -> bool:
    return whole.__cause__ is None and whole.__context__ is None and whole.exceptions is None


def _format_stack(trace: TracebackType) -> str:
    nobody = Exception()
    summary = traceback.TracebackException(Exception, nobody, trace, compact=True).stack
    return "".join(summary.format())


def _codes(trace: TracebackType) -> tuple[CodeType, ...]:
    return tuple(frame.f_code for frame, _ in traceback.walk_tb(trace))


_STANDARD = logging.Formatter()
STACKS = StackCache()
"""The cache the formatters of this process share."""
