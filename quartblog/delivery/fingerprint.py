"""LogRecord -> which failure it is: the same 16 digits for the same fault, on every host.

What counts of an exception: its type; of own code the relative file, the function and the line
within the function; of the libraries it went through from there the file and the function, because
their lines move with each of their releases; of its causes the type and the last own place; of a
group the types of its members. How the program came to the first own frame does not count: the same
fault may be reached through another server or thread. Without an exception: logger and
message, without what varies in it.

Own code is all that is not the standard library or installed into site-packages; the package this
module is part of is own wherever it is.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter, OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .code_places import is_own, relative_path
from .escaping import one_line, shortened
from .formatting import failure, type_name

if TYPE_CHECKING:
    import logging
    from types import CodeType, TracebackType

TITLE_LIMIT = 200
"""Characters of a title."""
MESSAGE_LIMIT = 1_000
"""Characters of a message that tell it from others."""
CHAIN_LIMIT = 10
"""Causes of one exception that count; the same number of members of a group."""
FRAMES = 20_000
"""Frames kept in all known stacks together; the longest unused stack leaves first."""


class Identity(NamedTuple):
    """Which failure, and where."""

    fingerprint: str
    title: str
    place: str
    """`path:line`, relative."""
    function: str


class _Stack(NamedTuple):
    signature: str
    own_place: str
    place: str
    function: str
    codes: tuple[CodeType, ...]


def fingerprint(record: logging.LogRecord) -> tuple[str, str]:
    """The 16 hexadecimal digits and the title of the record's failure."""
    return identify(record)[:2]


def identify(record: logging.LogRecord) -> Identity:
    """As `fingerprint`, with the place; a few µs for a failure that was seen before."""
    error = failure(record)
    if error is None:
        template = getattr(record, "template", None)
        text = template if isinstance(template, str) else record.getMessage()
        what = normalised(text[:MESSAGE_LIMIT])
        place = f"{relative_path(record.pathname)}:{record.lineno}"
        return Identity(_digest(record.name, what), shortened(what, TITLE_LIMIT), place, record.funcName or "")
    trace = record.exc_info[2] if record.exc_info else None
    title = shortened(one_line(type_name(error) or ""), TITLE_LIMIT)
    stack = STACKS.look_up(error, trace)
    parts = [title, stack.signature, *_relatives(error)]
    if not stack.codes:
        parts.append(f"{record.name}\n{relative_path(record.pathname)}\n{record.funcName}")
    place = stack.place or f"{relative_path(record.pathname)}:{record.lineno}"
    return Identity(_digest(*parts), title, place, stack.function or record.funcName or "")


class StackSignatures:
    """The signatures of recent stacks; safe from any thread."""

    def __init__(self, frames: int = FRAMES) -> None:
        """`frames` bounds all stacks together."""
        self._bound = frames
        self._held = 0
        # The code objects are kept, so their ids stay theirs for as long as the key lives.
        self._stacks: OrderedDict[tuple[object, ...], _Stack] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """How many stacks are known."""
        return len(self._stacks)

    def look_up(self, error: BaseException, trace: TracebackType | None) -> _Stack:
        """The signature of the error's stack."""
        recursive = isinstance(error, RecursionError)
        numbers: list[object] = [recursive]
        step = trace
        while step is not None:
            numbers += (id(step.tb_frame.f_code), step.tb_lineno)
            step = step.tb_next
        key = tuple(numbers)
        with self._lock:
            found = self._stacks.get(key)
            if found is not None:
                self._stacks.move_to_end(key)
                return found
        stack = _examine(trace, recursive=recursive)
        self._keep(key, stack)
        return stack

    def _keep(self, key: tuple[object, ...], stack: _Stack) -> None:
        if len(stack.codes) > self._bound:
            return
        with self._lock:
            if key in self._stacks:
                return
            self._stacks[key] = stack
            self._held += len(stack.codes)
            while self._held > self._bound:
                _, gone = self._stacks.popitem(last=False)
                self._held -= len(gone.codes)


def _examine(trace: TracebackType | None, *, recursive: bool) -> _Stack:
    codes: list[CodeType] = []
    frames: list[tuple[bool, str]] = []
    own_place = place = function = ""
    while trace is not None:
        code, line = trace.tb_frame.f_code, trace.tb_lineno
        path, own = relative_path(code.co_filename), is_own(code.co_filename)
        codes.append(code)
        if own:
            frames.append((True, f"{path} {code.co_qualname} +{line - code.co_firstlineno}"))
        else:
            frames.append((False, f"{path} {code.co_qualname}"))
        if own or not own_place:
            place, function = f"{path}:{line}", code.co_qualname
            own_place = frames[-1][1] if own else own_place
        trace = trace.tb_next
    if recursive:
        frames = _the_circle(frames)
    first_own = next((number for number, (own, _) in enumerate(frames) if own), 0)
    # Each frame once: how deep a recursion went says nothing.
    signature = "\n".join(dict.fromkeys(text for _, text in frames[first_own:]))
    return _Stack(signature, own_place, place, function, tuple(codes))


def _the_circle(frames: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """The frames that repeat: which one was on top when the stack was full is chance."""
    times = Counter(frames)
    return [frame for frame in frames if times[frame] > 1] or frames


def _relatives(error: BaseException) -> list[str]:
    """One text a cause or member."""
    found: list[str] = []
    seen = {id(error)}
    step: BaseException | None = error
    while step is not None and len(found) < CHAIN_LIMIT:
        if isinstance(step, BaseExceptionGroup):
            found.append(f"of {_members(step)}")
        cause = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
        if cause is None or id(cause) in seen:
            break
        seen.add(id(cause))
        found.append(f"from {type_name(cause)} {STACKS.look_up(cause, cause.__traceback__).own_place}")
        step = cause
    return found


def _members(group: BaseExceptionGroup[BaseException]) -> str:
    names: set[str] = set()
    todo: list[BaseException] = list(group.exceptions[:CHAIN_LIMIT])
    for error in todo:
        names.add(str(type_name(error)))
        if isinstance(error, BaseExceptionGroup) and len(todo) < CHAIN_LIMIT**2:
            todo += error.exceptions[:CHAIN_LIMIT]
    return " ".join(sorted(names))


_VARYING = re.compile(
    r"""
    (?P<uuid> \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b )
  | (?P<address> [\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8} )
  | (?P<text> '[^'\n]*' | "[^"\n]*" )
  | (?P<path> (?<![\w/])(?:[A-Za-z]:\\|\.{0,2}/)[^\s'"<>,;:()\[\]{}]+ )
  | (?P<hex> \b(?:0x[0-9a-fA-F]+|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,})\b )
  | (?P<n> [0-9]+(?:[.,][0-9]+)* )
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=1024)
def normalised(message: str) -> str:
    """The message on one line, with what varies from one failure to the next replaced by its kind."""
    return one_line(_VARYING.sub(lambda match: f"<{match.lastgroup}>", message))


def _digest(*parts: str) -> str:
    whole = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=8).hexdigest()


STACKS = StackSignatures()
"""What the events of this process share."""
