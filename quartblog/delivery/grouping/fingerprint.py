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

import contextlib
import hashlib
import os
import re
import sys
import sysconfig
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..interrupts import reraise_interrupt
from ..text.cache import LruCache
from ..text.escaping import one_line, shortened
from ..text.exceptions import snapshot_of, type_name

if TYPE_CHECKING:
    import logging

    from ..text.exceptions import ExceptionSnapshot, Link
    from ..text.stacks import Stack

_INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple(
    os.path.normpath(path) + os.sep
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(os.__file__).parent)}
)
_OWN_PACKAGE = __name__.partition(".")[0]


@lru_cache(maxsize=10_000)
def is_own(path: str) -> bool:
    """Whether the program's author wrote it, rather than a library's."""
    if path.startswith("<frozen"):
        return False
    parts = path.replace("\\", "/").split("/")
    for folder in _INSTALLED:
        if folder in parts:
            last = len(parts) - parts[::-1].index(folder)
            return parts[last:][:1] == [_OWN_PACKAGE]
    return not path.startswith(_STANDARD)


@lru_cache(maxsize=10_000)
def relative_path(path: str) -> str:
    """The path from where Python found it; without such a place, its last three parts."""
    unified = path.replace("\\", "/")
    for folder in _INSTALLED:
        _, found, rest = unified.rpartition(f"/{folder}/")
        if found:
            return rest
    if not Path(path).is_absolute():
        return unified.removeprefix("./")
    for root in _STANDARD:
        if path.startswith(root):
            return unified[len(root) :]
    roots: set[str] = set()
    for entry in [*sys.path, "."]:
        # A program may put anything into its path, and its working directory may be gone.
        with contextlib.suppress(OSError, TypeError):
            roots.add(str(Path(entry).absolute()))
    inside = [root for root in roots if path.startswith(root.rstrip(os.sep) + os.sep) and root != os.sep]
    if inside:
        return unified[len(max(inside, key=len)) + 1 :]
    return "/".join(unified.split("/")[-3:])


LIMIT = 1_000
"""Characters of a message that tell it from others."""

_VARYING = re.compile(
    r"""
    (?P<uuid> \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b )
  | (?P<address> \b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8} )
  | (?P<text> (?<!\w)(?:'[^'\n]*'|"[^"\n]*")(?!\w) )
  | (?P<path> (?<![\w/<])(?:[A-Za-z]:\\|\.{0,2}/)[^\s'"<>,;:()\[\]{}]+ )
  | (?P<n> \b(?:0x[0-9a-fA-F]+|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,})\b | [0-9]+(?:[.,][0-9]+)* )
    """,
    re.VERBOSE,
)


def normalised(message: str) -> str:
    """One line, with numbers, ids, quoted texts, paths and addresses replaced by their kind, such as `<n>`."""
    return _normalised(message[:LIMIT])


@lru_cache(maxsize=1024)
def _normalised(message: str) -> str:
    return one_line(_VARYING.sub(lambda match: f"<{match.lastgroup}>", message))


TITLE_LIMIT = 200
"""Characters of a title."""
FRAMES = 20_000
"""Frames kept in all known failures together; the longest unused failure leaves first."""


class Identity(NamedTuple):
    """Which failure, and where."""

    fingerprint: str
    title: str
    place: str
    """`path:line`, relative."""
    function: str


class _View(NamedTuple):
    signature: str
    own_place: str
    place: str
    function: str


def fingerprint(record: logging.LogRecord) -> tuple[str, str]:
    """The 16 hexadecimal digits and the title of the record's failure."""
    return identify(record)[:2]


def identify(record: logging.LogRecord) -> Identity:
    """As `fingerprint`, with the place; a few µs for an exception that was seen before. Never raises."""
    known = record.__dict__.get("identity")
    if isinstance(known, Identity):
        return known
    try:
        failure = snapshot_of(record)
        return _of_message(record) if failure is None else KNOWN.look_up(record, failure)
    except BaseException as error:  # noqa: BLE001  a record may misbehave in a hundred ways
        reraise_interrupt(error)
        place = _logged_at(record)
        return Identity(_digest("unknown", record.name, place), record.levelname, place, record.funcName or "")


def retitled(identity: Identity, template: str) -> Identity:
    """The same failure, told in these words."""
    return identity._replace(title=_title(normalised(template)))


class IdentityCache:
    """The identities of recent exceptions; safe from any thread."""

    def __init__(self, frames: int = FRAMES) -> None:
        """`frames` bounds all failures together."""
        self._known: LruCache[Identity] = LruCache(frames)

    def __len__(self) -> int:
        """How many failures are known."""
        return len(self._known)

    def look_up(self, record: logging.LogRecord, failure: ExceptionSnapshot) -> Identity:
        """The identity of the failure, which the record carries."""
        links = failure.links
        # A logger that passes on no traceback tells where it was instead.
        key = links if links[0].stack else (*links, record.name, record.pathname, record.lineno, record.funcName)
        found = self._known.get(key)
        if found is None:
            found = _examine(record, links)
            self._known.keep(key, found, sum(1 + len(link.stack.steps) for link in links if link.stack) or 1)
        return found


def _examine(record: logging.LogRecord, links: tuple[Link, ...]) -> Identity:
    first = links[0]
    title = _title(one_line(type_name(first.kind) or ""))
    view = _view(first.stack, recursive=issubclass(first.kind, RecursionError))
    texts = [title, view.signature]
    texts += [f"from {type_name(link.kind)} {_view(link.stack).own_place}" for link in links[1:]]
    texts += [f"of {link.members}" for link in links if link.members]
    if not view.place:
        texts += (record.name, relative_path(record.pathname), record.funcName or "")
    place = view.place or _logged_at(record)
    return Identity(_digest(*texts), title, place, view.function or record.funcName or "")


def _view(stack: Stack | None, *, recursive: bool = False) -> _View:
    frames: list[tuple[bool, str]] = []
    own_place = place = function = ""
    for code, _, traced in stack.steps if stack else ():
        # An instruction that no line of the source stands for has none.
        line = traced or code.co_firstlineno
        path, own = relative_path(code.co_filename), is_own(code.co_filename)
        text = f"{path} {code.co_qualname}"
        if own:
            text = own_place = f"{text} +{line - code.co_firstlineno}"
        if own or not own_place:
            place, function = f"{path}:{line}", code.co_qualname
        frames.append((own, text))
    if recursive:
        frames = _circle(frames)
    first_own = next((number for number, (own, _) in enumerate(frames) if own), 0)
    # Each frame once: how deep a recursion went says nothing.
    return _View("\n".join(dict.fromkeys(text for _, text in frames[first_own:])), own_place, place, function)


def _circle(frames: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """The frames that repeat: which one was on top when the stack was full is chance."""
    times = Counter(frames)
    return [frame for frame in frames if times[frame] > 1] or frames


def _of_message(record: logging.LogRecord) -> Identity:
    template = getattr(record, "template", None)
    what = normalised(template if isinstance(template, str) else record.getMessage())
    place = _logged_at(record)
    return Identity(_digest(record.name, what), _title(what), place, record.funcName or "")


def _title(what: str) -> str:
    return shortened(what, TITLE_LIMIT)


def _logged_at(record: logging.LogRecord) -> str:
    return f"{relative_path(record.pathname)}:{record.lineno}"


def _digest(*parts: str) -> str:
    whole = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=8).hexdigest()


KNOWN = IdentityCache()
"""What the events of this process share."""
