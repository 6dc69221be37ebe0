"""Exception of a record -> a snapshot: the same types, causes and stacks as text, without the exception and its frames.

Code of the program may run here: the `__str__` of exceptions and of their notes, and the methods that the standard
library calls to suggest a name. The listener's thread runs it. The thread that logs runs it in two cases: for an
exception that is cheap to describe (see `drop_frames`), and while more than `QueueOptions.whole` records wait, because
frames keep all their locals alive.
"""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..own_log import describe, reraise_interrupt
from .escaping import LONGEST, shortened
from .stacks import STACKS, Stack, StackCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

CHAIN_LIMIT = 10
"""Causes of one exception that count for its fingerprint."""
MOST = 10_000
"""Exceptions inside a group, at any depth, that are described, in half a second, and count for its fingerprint.

Of a larger group none is described, and the first ones count.
"""
NAME_LIMIT = 1_000
"""Characters of a class's or logger's name, of a path, a user's key and other short texts."""
TEXT_LIMIT = 16 * LONGEST
"""Characters of one finished traceback: a chain may have any number of causes."""

_HEAD = "Traceback (most recent call last):\n"
_STANDARD = logging.Formatter()
# The standard library adds suggestions or a place to the messages of these.
_EXTENDED = (SyntaxError, ImportError, NameError, AttributeError, BaseExceptionGroup)


class Link(NamedTuple):
    """One exception of a chain, as far as it counts for a fingerprint."""

    kind: type[BaseException]
    stack: Stack | None
    members: frozenset[Link] = frozenset()
    """The exceptions inside a group, at any depth; empty for another exception."""
    member_types: str = ""
    """Their types, at any depth, as version 1 of the fingerprint counts them."""


class ExceptionSnapshot:
    """One exception with its causes. It holds neither the exception nor its frames, so it may wait for long."""

    __slots__ = ("_parts", "_text", "_whole", "links", "message")

    def __init__(self, info: ExcInfo, stacks: StackCache = STACKS) -> None:
        """Format no stack. Never raises, whatever the exception does."""
        _, error, trace = info
        self.links: tuple[Link, ...] = ()
        """The exception and its causes; empty for a record without an exception."""
        self.message = ""
        """The exception's own message."""
        self._parts: list[tuple[traceback.TracebackException, Stack | None]] = []
        self._whole: traceback.TracebackException | None = None
        self._text: str | None = None
        if error is None or hasattr(sys, "tracebacklimit"):
            self._text = _standard_text(info)
        if error is not None:
            try:
                self._examine(error, trace, stacks)
            except BaseException as another:  # noqa: BLE001  an exception's class may raise anything anywhere
                reraise_interrupt(another)
            if not self.links:
                self.links = (Link(type(error), _stack(trace, stacks)),)
                self._text = _standard_text(info)

    @property
    def kind(self) -> type[BaseException] | None:
        """The exception's class."""
        return self.links[0].kind if self.links else None

    @property
    def text(self) -> str:
        """The traceback as the standard Formatter writes it."""
        if self._text is None:
            try:
                self._text = shortened(self._composed().removesuffix("\n"), TEXT_LIMIT)
            except BaseException as error:  # noqa: BLE001  the exception's class may raise anything
                reraise_interrupt(error)
                self._text = f"(the traceback could not be formatted: {describe(error)})"
        return self._text

    def rewrite(self, change: Callable[[str], str]) -> bool:
        """Change all messages and notes; return whether one differs. Call this before `text` is read."""
        differs = False

        def watched(text: str) -> str:
            nonlocal differs
            changed = change(text)
            differs = differs or changed != text
            return changed

        self.message = watched(self.message)
        for part, _ in self._parts:
            _rewrite_part(part, watched)
        if self._text is not None:
            self._text = watched(self._text)
        return differs

    def _examine(self, error: BaseException, trace: TracebackType | None, stacks: StackCache) -> None:
        stack = stacks.of(trace)
        if _stands_alone(error):
            self.message = shortened(str.__str__(str(error)), LONGEST)
            self.links = (Link(type(error), stack),)
            return
        if _is_vast(error):
            message = shortened(str.__str__(str(error)), LONGEST)
            self.message = f"{message} (it has more than {MOST} exceptions, which are left out)"
            self.links = (_link(error, stack, stacks),)
            return
        # The standard library composes all but the frames, which is cheap.
        whole = traceback.TracebackException(type(error), error, trace, limit=0, compact=True)
        self._parts = list(_parts(whole, error, trace, stacks))
        for part, _ in self._parts:
            _freeze(part)
        self.message = str(whole)
        self.links = tuple(_links(error, stack, stacks))
        self._whole = whole

    def _composed(self) -> str:
        if self._whole is None:
            [(kind, stack, *_)] = self.links
            return f"{_HEAD}{stack.text}{_last_line(kind, self.message)}" if stack else _last_line(kind, self.message)
        for part, stack in self._parts:
            if stack is not None:
                set_stack(part, stack.text)
        return "".join(self._whole.format())


def type_name(kind: type[BaseException] | None) -> str | None:
    """The exception's class as `module.Class`, builtins without their module."""
    if kind is None:
        return None
    try:
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return shortened(str.__str__(name), NAME_LIMIT)
    except BaseException as error:  # noqa: BLE001  a metaclass may raise
        reraise_interrupt(error)
        return str(type.__dict__["__name__"].__get__(kind))


def _stack(trace: TracebackType | None, stacks: StackCache) -> Stack | None:
    try:
        return stacks.of(trace)
    except BaseException as error:  # noqa: BLE001  a frame's globals name a loader, which may raise
        reraise_interrupt(error)
        return None


def _stands_alone(error: BaseException) -> bool:
    return (
        error.__cause__ is None
        and (error.__context__ is None or error.__suppress_context__)
        and not isinstance(error, _EXTENDED)
        and getattr(error, "__notes__", None) is None
    )


def _is_vast(error: BaseException) -> bool:
    """Return whether the standard library would describe too many exceptions: a member as often as it is met."""
    todo, met, known = [error], 0, {id(error)}
    while todo and met <= MOST:
        each = todo.pop()
        met += 1
        if isinstance(each, BaseExceptionGroup):
            todo += each.exceptions
        causes = [cause for cause in (each.__cause__, each.__context__) if cause is not None and id(cause) not in known]
        known.update(map(id, causes))
        todo += causes
    return met > MOST


def _last_line(kind: type[BaseException], message: str) -> str:
    module: object = kind.__module__
    name = kind.__qualname__
    if module not in ("__main__", "builtins"):
        name = f"{module if isinstance(module, str) else '<unknown>'}.{name}"
    return f"{name}: {message}\n" if message else f"{name}\n"


def _parts(
    whole: traceback.TracebackException, error: BaseException, trace: TracebackType | None, stacks: StackCache
) -> Iterable[tuple[Any, Stack | None]]:
    """Yield every exception of the tree, with its stack."""
    todo: list[tuple[Any, Any, TracebackType | None]] = [(whole, error, trace)]
    while todo:
        part, source, frames = todo.pop()
        yield part, stacks.of(frames)
        for name in ("__cause__", "__context__"):
            if (child := getattr(part, name)) is not None:
                origin = getattr(source, name)
                todo.append((child, origin, origin.__traceback__))
        if part.exceptions is not None:
            for child, origin in zip(part.exceptions, source.exceptions, strict=True):
                todo.append((child, origin, origin.__traceback__))


def _links(error: BaseException, stack: Stack | None, stacks: StackCache) -> Iterable[Link]:
    """Yield the error and its causes, up to the limit, so that a circle ends too."""
    for _ in range(CHAIN_LIMIT + 1):
        yield _link(error, stack, stacks)
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is None:
            return
        error, stack = cause, stacks.of(cause.__traceback__)


def _link(error: BaseException, stack: Stack | None, stacks: StackCache) -> Link:
    if not isinstance(error, BaseExceptionGroup):
        return Link(type(error), stack)
    return Link(type(error), stack, frozenset(_inside(error, stacks)), _member_types(error))


def _inside(group: BaseExceptionGroup[BaseException], stacks: StackCache) -> Iterable[Link]:
    """Yield the exceptions inside a group, at any depth, each object once."""
    todo: list[BaseException] = [group]
    known: set[int] = set()
    while todo and len(known) < MOST:
        error = todo.pop()
        if id(error) in known:
            continue
        known.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            todo += error.exceptions
        else:
            yield Link(type(error), stacks.of(error.__traceback__))


def _member_types(group: BaseExceptionGroup[BaseException]) -> str:
    names: set[str] = set()
    todo: list[BaseException] = list(group.exceptions[:CHAIN_LIMIT])
    for error in todo:
        names.add(str(type_name(type(error))))
        if isinstance(error, BaseExceptionGroup) and len(todo) < CHAIN_LIMIT**2:
            todo += error.exceptions[:CHAIN_LIMIT]
    return " ".join(sorted(names))


def _rewrite_part(part: Any, change: Callable[[str], str]) -> None:
    set_message(part, change(str(part)))
    # A SyntaxError has these.
    for name in ("text", "msg", "filename"):
        if isinstance(words := getattr(part, name, None), str):
            setattr(part, name, change(words))
    notes = part.__notes__
    if isinstance(notes, list):
        part.__notes__ = [change(note) for note in notes]
    elif notes is not None and change(shown := _safe(notes, repr)) != shown:
        part.__notes__ = [change(shown)]


def _freeze(part: traceback.TracebackException) -> None:
    """Keep texts where the standard library keeps objects, and no more of them than a record may hold."""
    set_message(part, shortened(str.__str__(str(part)), LONGEST))
    notes: Any = part.__notes__
    if isinstance(notes, (list, tuple)):
        part.__notes__ = [shortened(_safe(note, str), LONGEST) for note in notes]


def _safe(note: object, words: Callable[[object], str]) -> str:
    try:
        return str.__str__(words(note))
    except BaseException as error:  # noqa: BLE001  as the standard library shows it
        reraise_interrupt(error)
        return f"<note {words.__name__}() failed>"


def _standard_text(info: ExcInfo) -> str:
    try:
        return shortened(_STANDARD.formatException(info), TEXT_LIMIT)
    except BaseException as error:  # noqa: BLE001  an exception may raise from __bool__, __notes__ …
        reraise_interrupt(error)
        return f"(the traceback of {type_name(info[0])} could not be formatted: {describe(error)})"


# The two functions below use what the standard library's TracebackException has no public way for. A test holds both.


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
