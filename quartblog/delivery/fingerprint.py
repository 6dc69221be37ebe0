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
import threading
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from .code_places import is_own, relative_path
from .escaping import one_line, shortened
from .formatting import failure, type_name
from .templates import normalised

if TYPE_CHECKING:
    import logging
    from types import CodeType, TracebackType

TITLE_LIMIT = 200
"""Characters of a title."""
CHAIN_LIMIT = 10
"""Causes of one exception that count, and members of one group."""
FRAMES = 20_000
"""Frames kept in all known failures together; the longest unused failure leaves first."""


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


def fingerprint(record: logging.LogRecord) -> tuple[str, str]:
    """The 16 hexadecimal digits and the title of the record's failure."""
    return identify(record)[:2]


def identify(record: logging.LogRecord) -> Identity:
    """As `fingerprint`, with the place; a few µs for an exception that was seen before. Never raises."""
    try:
        error = failure(record)
        return _of_message(record) if error is None else KNOWN.look_up(record, error)
    except Exception:  # noqa: BLE001  an exception may misbehave in a hundred ways
        place = _logged_at(record)
        return Identity(_digest("unknown", record.name, place), record.levelname, place, record.funcName or "")


class KnownFailures:
    """The identities of recent exceptions; safe from any thread."""

    def __init__(self, frames: int = FRAMES) -> None:
        """`frames` bounds all failures together."""
        self._bound = 2 * frames
        self._held = 0
        # What the ids in a key stand for is kept, so they stay its own for as long as the key lives.
        self._known: OrderedDict[tuple[object, ...], tuple[Identity, list[object]]] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """How many failures are known."""
        return len(self._known)

    def look_up(self, record: logging.LogRecord, error: BaseException) -> Identity:
        """The identity of the error, which the record carries."""
        key = _key(record, error)
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
                return found[0]
        identity = _examine(record, error)
        if len(key) <= self._bound:
            self._keep(key, identity, _parts(record, error))
        return identity

    def _keep(self, key: tuple[object, ...], identity: Identity, parts: list[object]) -> None:
        with self._lock:
            # Another thread may have examined the same failure meanwhile.
            self._held += len(key) * (key not in self._known)
            self._known[key] = identity, parts
            while self._held > self._bound:
                gone, _ = self._known.popitem(last=False)
                self._held -= len(gone)


def _key(record: logging.LogRecord, error: BaseException) -> tuple[object, ...]:
    key: list[object] = []
    for step, trace in _chain(record, error):
        key.append(id(type(step)))
        if isinstance(step, BaseExceptionGroup):
            key.append(_members(step))
        frame = trace
        while frame is not None:
            key += (id(frame.tb_frame.f_code), frame.tb_lineno)
            frame = frame.tb_next
    if _trace(record) is None:
        key += (record.name, record.pathname, record.lineno, record.funcName)
    return tuple(key)


def _parts(record: logging.LogRecord, error: BaseException) -> list[object]:
    parts: list[object] = []
    for step, trace in _chain(record, error):
        parts.append(type(step))
        parts += _codes(trace)
    return parts


def _examine(record: logging.LogRecord, error: BaseException) -> Identity:
    title = shortened(one_line(type_name(error) or ""), TITLE_LIMIT)
    chain = _chain(record, error)
    stack = _stack(chain[0][1], recursive=isinstance(error, RecursionError))
    texts = [title, stack.signature]
    for step, trace in chain[1:]:
        texts.append(f"from {type_name(step)} {_stack(trace).own_place}")
    texts += [f"of {_members(step)}" for step, _ in chain if isinstance(step, BaseExceptionGroup)]
    if not stack.place:
        texts += (record.name, relative_path(record.pathname), record.funcName or "")
    place = stack.place or _logged_at(record)
    return Identity(_digest(*texts), title, place, stack.function or record.funcName or "")


def _chain(record: logging.LogRecord, error: BaseException) -> list[tuple[BaseException, TracebackType | None]]:
    """The error and its causes, each with its traceback; not more than the limit, so a circle ends too."""
    found = [(error, _trace(record))]
    while len(found) <= CHAIN_LIMIT:
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is None:
            break
        found.append((cause, cause.__traceback__))
        error = cause
    return found


def _trace(record: logging.LogRecord) -> TracebackType | None:
    return record.exc_info[2] if isinstance(record.exc_info, tuple) else None


def _codes(trace: TracebackType | None) -> list[CodeType]:
    found = []
    while trace is not None:
        found.append(trace.tb_frame.f_code)
        trace = trace.tb_next
    return found


def _stack(trace: TracebackType | None, *, recursive: bool = False) -> _Stack:
    frames: list[tuple[bool, str]] = []
    own_place = place = function = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        # An instruction that no line of the source stands for has none.
        line = trace.tb_lineno or code.co_firstlineno
        path, own = relative_path(code.co_filename), is_own(code.co_filename)
        text = f"{path} {code.co_qualname}"
        if own:
            text = own_place = f"{text} +{line - code.co_firstlineno}"
        if own or not own_place:
            place, function = f"{path}:{line}", code.co_qualname
        frames.append((own, text))
        trace = trace.tb_next
    if recursive:
        frames = _circle(frames)
    first_own = next((number for number, (own, _) in enumerate(frames) if own), 0)
    # Each frame once: how deep a recursion went says nothing.
    return _Stack("\n".join(dict.fromkeys(text for _, text in frames[first_own:])), own_place, place, function)


def _circle(frames: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """The frames that repeat: which one was on top when the stack was full is chance."""
    times = Counter(frames)
    return [frame for frame in frames if times[frame] > 1] or frames


def _members(group: BaseExceptionGroup[BaseException]) -> str:
    names: set[str] = set()
    todo: list[BaseException] = list(group.exceptions[:CHAIN_LIMIT])
    for error in todo:
        names.add(str(type_name(error)))
        if isinstance(error, BaseExceptionGroup) and len(todo) < CHAIN_LIMIT**2:
            todo += error.exceptions[:CHAIN_LIMIT]
    return " ".join(sorted(names))


def _of_message(record: logging.LogRecord) -> Identity:
    template = getattr(record, "template", None)
    what = normalised(template if isinstance(template, str) else record.getMessage())
    place = _logged_at(record)
    return Identity(_digest(record.name, what), shortened(what, TITLE_LIMIT), place, record.funcName or "")


def _logged_at(record: logging.LogRecord) -> str:
    return f"{relative_path(record.pathname)}:{record.lineno}"


def _digest(*parts: str) -> str:
    whole = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=8).hexdigest()


KNOWN = KnownFailures()
"""What the events of this process share."""
