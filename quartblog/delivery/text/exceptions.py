"""Exception -> the same types, causes and frames, without what it says."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..interrupts import reraise_interrupt
from ..own_log import describe
from .escaping import LONGEST, shortened
from .stacks import STACKS, Stack, StackCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    import logging

CHAIN_LIMIT = 10
"""Causes of one exception that tell it from others."""
MEMBERS = 100
"""Exceptions inside a group, at any depth, that tell it from others."""
NAME_LIMIT = 1_000
"""Characters of a class's name."""
TEXT_LIMIT = 16 * LONGEST
"""Characters of one finished traceback: a chain may have any number of causes."""

_HEAD = "Traceback (most recent call last):\n"
_STANDARD = logging.Formatter()
# The standard library adds to what these say.
_TALKATIVE = (SyntaxError, ImportError, NameError, AttributeError, BaseExceptionGroup)


class Link(NamedTuple):
    """One exception of a chain, as far as it tells failures apart."""

    kind: type[BaseException]
    stack: Stack | None
    members: frozenset[Link] = frozenset()
    """The exceptions in a group; empty for another exception."""
    member_types: str = ""
    """Their types, at any depth, as version 1 of the fingerprint counts them."""


class ExceptionSnapshot:
    """One exception with its causes; holds neither the exception nor its frames, and may wait for long."""

    __slots__ = ("_parts", "_text", "_whole", "links", "said")

    def __init__(self, info: ExcInfo, stacks: StackCache = STACKS) -> None:
        """Never raises for what an exception may do, and formats no stack."""
        _, error, trace = info
        self.links: tuple[Link, ...] = ()
        """The exception and its causes; empty where the record told of none."""
        self.said = ""
        """The exception's own words."""
        self._parts: list[tuple[Any, Stack | None]] = []
        self._whole: traceback.TracebackException | None = None
        self._text: str | None = None
        if error is None or hasattr(sys, "tracebacklimit"):
            self._text = _as_the_standard(info)
        if error is not None:
            try:
                self._examine(error, trace, stacks)
            except BaseException as another:  # noqa: BLE001  an exception's class may raise anything anywhere
                reraise_interrupt(another)
            if not self.links:
                self.links = (Link(type(error), _stack(trace, stacks)),)
                self._text = _as_the_standard(info)

    @property
    def key(self) -> tuple[tuple[Link, ...], str] | None:
        """What its text will be made of; None for one with a cause, a note or a text already, which may tell more."""
        return None if self._whole is not None or self._text is not None else (self.links, self.said)

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
            except BaseException as error:  # noqa: BLE001  a class may misbehave as well as its instances
                reraise_interrupt(error)
                self._text = f"(the traceback could not be formatted: {describe(error)})"
        return self._text

    def rewrite(self, change: Callable[[str], str]) -> bool:
        """Change what the exceptions themselves say, before anybody has read it. Whether that made a difference."""
        differs = False

        def watched(words: str) -> str:
            nonlocal differs
            changed = change(words)
            differs = differs or changed != words
            return changed

        self.said = watched(self.said)
        for part, _ in self._parts:
            _rewrite_part(part, watched)
        if self._text is not None:
            self._text = watched(self._text)
        return differs

    def _examine(self, error: BaseException, trace: TracebackType | None, stacks: StackCache) -> None:
        stack = stacks.of(trace) if trace is not None else None
        if _stands_alone(error):
            self.said = shortened(str.__str__(str(error)), LONGEST)
            self.links = (Link(type(error), stack),)
            return
        # Without frames the standard library composes everything else, which is cheap.
        whole = traceback.TracebackException(type(error), error, trace, limit=0, compact=True)
        self._parts = list(_parts(whole, error, trace, stacks))
        for part, _ in self._parts:
            _freeze(part)
        self.said = whole._str  # type: ignore[attr-defined]  # noqa: SLF001  the same
        self.links = tuple(_links(error, stack, stacks))
        self._whole = whole

    def _composed(self) -> str:
        if self._whole is None:
            [(kind, stack, *_)] = self.links
            return f"{_HEAD}{stack.text}{_last_line(kind, self.said)}" if stack else _last_line(kind, self.said)
        for part, stack in self._parts:
            if stack is not None:
                part.stack = _Ready([stack.text])  # type: ignore[list-item]  # see _Ready
        return "".join(self._whole.format())


class _Ready(traceback.StackSummary):
    """A stack that is formatted already: its one item is the text."""

    def format(self, **_: Any) -> list[str]:
        return list(self)  # type: ignore[arg-type]  # texts, see above


def type_name(kind: type[BaseException] | None) -> str | None:
    """The exception's class as `module.Class`, builtins without their module."""
    if kind is None:
        return None
    try:
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return shortened(str.__str__(name), NAME_LIMIT)
    except BaseException as error:  # noqa: BLE001  a class has a class too, which may raise
        reraise_interrupt(error)
        return str(type.__dict__["__name__"].__get__(kind))


def _stack(trace: TracebackType | None, stacks: StackCache) -> Stack | None:
    try:
        return stacks.of(trace) if trace is not None else None
    except BaseException as error:  # noqa: BLE001  a frame's globals name a loader, which is anybody's
        reraise_interrupt(error)
        return None


def _stands_alone(error: BaseException) -> bool:
    return (
        error.__cause__ is None
        and (error.__context__ is None or error.__suppress_context__)
        and not isinstance(error, _TALKATIVE)
        and getattr(error, "__notes__", None) is None
    )


def _last_line(kind: type[BaseException], said: str) -> str:
    module: object = kind.__module__
    name = kind.__qualname__
    if module not in ("__main__", "builtins"):
        name = f"{module if isinstance(module, str) else '<unknown>'}.{name}"
    return f"{name}: {said}\n" if said else f"{name}\n"


def _parts(
    whole: traceback.TracebackException, error: BaseException, trace: TracebackType | None, stacks: StackCache
) -> Iterable[tuple[Any, Stack | None]]:
    """Every exception of the tree with the stack it would have had."""
    todo: list[tuple[Any, Any, TracebackType | None]] = [(whole, error, trace)]
    while todo:
        part, source, frames = todo.pop()
        yield part, stacks.of(frames) if frames is not None else None
        for name in ("__cause__", "__context__"):
            if (child := getattr(part, name)) is not None:
                origin = getattr(source, name)
                todo.append((child, origin, origin.__traceback__))
        if part.exceptions is not None:
            for child, origin in zip(part.exceptions, source.exceptions, strict=True):
                todo.append((child, origin, origin.__traceback__))


def _links(error: BaseException, stack: Stack | None, stacks: StackCache) -> Iterable[Link]:
    """The error and its causes; not more than the limit, so a circle ends too."""
    for _ in range(CHAIN_LIMIT + 1):
        yield _link(error, stack, stacks, [MEMBERS])
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is None:
            return
        error, trace = cause, cause.__traceback__
        stack = stacks.of(trace) if trace is not None else None


def _link(error: BaseException, stack: Stack | None, stacks: StackCache, left: list[int]) -> Link:
    """Return the link of an exception with at most so many members; `left` is changed."""
    if not isinstance(error, BaseExceptionGroup):
        return Link(type(error), stack)
    members: set[Link] = set()
    for member in error.exceptions:
        if left[0] <= 0:
            break
        left[0] -= 1
        trace = member.__traceback__
        members.add(_link(member, stacks.of(trace) if trace is not None else None, stacks, left))
    return Link(type(error), stack, frozenset(members), _member_types(error))


def _member_types(group: BaseExceptionGroup[BaseException]) -> str:
    names: set[str] = set()
    todo: list[BaseException] = list(group.exceptions[:CHAIN_LIMIT])
    for error in todo:
        names.add(str(type_name(type(error))))
        if isinstance(error, BaseExceptionGroup) and len(todo) < CHAIN_LIMIT**2:
            todo += error.exceptions[:CHAIN_LIMIT]
    return " ".join(sorted(names))


def _rewrite_part(part: Any, change: Callable[[str], str]) -> None:
    for name in ("_str", "text", "msg", "filename"):
        if isinstance(words := getattr(part, name, None), str):
            setattr(part, name, change(words))
    notes = part.__notes__
    if isinstance(notes, list):
        part.__notes__ = [change(note) for note in notes]
    elif notes is not None and change(shown := _safe(notes, repr)) != shown:
        part.__notes__ = [change(shown)]


def _freeze(part: Any) -> None:
    """Keep texts where the standard library keeps objects, and not more of them than a record may hold."""
    part._str = shortened(str.__str__(part._str), LONGEST)  # noqa: SLF001  there is no other door
    if isinstance(part.__notes__, (list, tuple)):
        part.__notes__ = [shortened(_safe(note, str), LONGEST) for note in part.__notes__]


def _safe(note: object, words: Callable[[object], str]) -> str:
    try:
        return str.__str__(words(note))
    except BaseException as error:  # noqa: BLE001  as the standard library shows it
        reraise_interrupt(error)
        return f"<note {words.__name__}() failed>"


def _as_the_standard(info: ExcInfo) -> str:
    try:
        return shortened(_STANDARD.formatException(info), TEXT_LIMIT)
    except BaseException as error:  # noqa: BLE001  an exception may raise from __bool__, __notes__ …
        reraise_interrupt(error)
        return f"(the traceback of {type_name(info[0])} could not be formatted: {describe(error)})"


FAILURE = "_failure"
"""The attribute of a record that holds its ExceptionSnapshot, once that is known."""

_TRACEBACK = BaseException.__dict__["__traceback__"]


def snapshot_of(record: logging.LogRecord) -> ExceptionSnapshot | None:
    """What the record tells of an exception."""
    # Looked at before what is kept: `drop_frames` puts the one in the place of the other meanwhile.
    info = record.__dict__.get("exc_info")
    known = record.__dict__.get(FAILURE)
    # Anybody may give a record an attribute of this name.
    if type(known) is ExceptionSnapshot:
        return known
    return ExceptionSnapshot(sound) if (sound := valid_exc_info(info)) is not None else None


def keep_snapshot(record: logging.LogRecord) -> ExceptionSnapshot | None:
    """As `snapshot_of`, and kept on the record. Two threads may ask at once: one of them wins."""
    failure = snapshot_of(record)
    if failure is not None:
        kept = record.__dict__.setdefault(FAILURE, failure)
        return kept if type(kept) is ExceptionSnapshot else failure
    return None


def drop_frames(record: logging.LogRecord) -> None:
    """Keep what the record tells of an exception, and let go of that and its frames, which hold all their locals."""
    if keep_snapshot(record) is not None:
        record.exc_info = None


def valid_exc_info(given: Any) -> ExcInfo | None:
    """The exception that an exc_info holds; None where it holds none, as True does, or a tuple of something else."""
    kind: Any
    trace: Any
    if type(given) is tuple and len(given) == 3:
        kind, error, trace = given
    else:
        kind, error, trace = None, given, None
    # By its type: an object's __class__ may be a lie, or raise.
    if not issubclass(type(error), BaseException):
        return None
    if error is given:
        trace = _TRACEBACK.__get__(error)
    if kind is type(error) and (trace is None or type(trace) is TracebackType):
        sound: ExcInfo = given
        return sound
    return type(error), error, trace if type(trace) is TracebackType else None


DEPTH = 10
"""Causes, and members of one group, that are kept."""


def wordless(error: BaseException) -> BaseException:
    """Return an exception of the same type where that can be had, at the same place, that says nothing. Never raises.

    For exceptions that nobody caught, outside of any scope: whatever a stranger sent may stand in their text, and
    nothing tells what is to be hidden. The system's own words of an OSError stay, without a file's name.
    """
    try:
        return _wordless(error, DEPTH)
    except BaseException as failure:  # noqa: BLE001 - an exception may raise anything from all that is asked of it
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
        # A class of its own kind may say something without arguments, or fail to.
        if not str(bare) and bare.with_traceback(None) is bare:
            return bare
    except BaseException as failure:  # noqa: BLE001 - a constructor may want anything
        reraise_interrupt(failure)
    return Exception(kind.__qualname__)
