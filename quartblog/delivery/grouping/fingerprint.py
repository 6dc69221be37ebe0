"""LogRecord -> its fingerprint, which is the same for equal failures, on every host.

An exception is identified by its type and by its frames. A frame of the program's own code counts with its relative
file, its function and its line within the function. A frame of a library that own code called counts with file and
function only, because lines move with each release. A cause counts with its type and its last own place. A group counts
with each distinct exception inside it, at any depth and in any order. Frames before the first own one do not count,
because a server, a thread or a test may have called it.

A record without an exception is identified by its logger and its message pattern.

A fingerprint begins with the version of these rules. `Identity.earlier` has the fingerprints that earlier versions give
the same failure. If the outbox does not know the current fingerprint, it looks for these, and moves their group to the
current one. So an upgrade neither mails every group again nor reopens resolved ones. If this version splits a group,
the group moves to the first of its failures that happens again, and the others become new groups. Processes of two
versions that share an outbox make two groups of a failure. A downgrade makes new groups as well.

Version 2 counts the exceptions inside an exception group, where version 1 counted only the names of their types. It
also numbers functions of one name (see `places.numbered_name`). All other failures have the digest of version 1.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ..options import QueueOptions
from ..own_log import reraise_interrupt
from ..text.cache import LruCache
from ..text.escaping import one_line, shortened
from ..text.exc_info import snapshot_of
from ..text.exceptions import type_name
from .places import is_own, numbered_name, relative_path

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from ..text.exceptions import ExceptionSnapshot, Link
    from ..text.stacks import Stack

VERSION = 2

LIMIT = 1_000
"""Characters of a message that count, from its beginning."""
TITLE_LIMIT = 200
"""Characters of a title."""
FRAMES = 20_000
"""Frames of all cached exceptions together."""

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


def message_pattern(message: str) -> str:
    """Return the message on one line, with numbers, ids, quoted texts, paths and addresses replaced by `<n>` etc."""
    return _pattern(message[:LIMIT])


@lru_cache(maxsize=1024)
def _pattern(message: str) -> str:
    return one_line(_VARYING.sub(lambda match: f"<{match.lastgroup}>", message))


class Identity(NamedTuple):
    """The failure a record reports."""

    fingerprint: str
    """The version, a dash, and 16 hexadecimal digits."""
    title: str
    """The exception's type, or the message pattern, on one line."""
    place: str
    """`path:line` of the innermost own frame, relative, or of the logging call."""
    function: str
    earlier: tuple[str, ...] = ()
    """Fingerprints that earlier versions give the same failure."""

    def with_title_of(self, template: str) -> Identity:
        """Return the same failure, titled by this message."""
        return self._replace(title=_title(message_pattern(template)))


class Identifier:
    """Identifies records. A cached exception takes a few µs. Any thread may call it."""

    def __init__(self, own_packages: Iterable[str] = QueueOptions().own_packages, frames: int = FRAMES) -> None:
        """`own_packages` are installed packages that belong to the program; `frames` bounds the cache."""
        self._own = tuple(own_packages)
        self._seen: LruCache[Identity] = LruCache(frames)

    def __len__(self) -> int:
        """Return how many exceptions are cached."""
        return len(self._seen)

    def identify(self, record: logging.LogRecord) -> Identity:
        """Return the record's identity. Never raises."""
        try:
            failure = snapshot_of(record)
            return _of_message(record) if failure is None else self._of_exception(record, failure)
        except BaseException as error:  # noqa: BLE001  a record may misbehave in a hundred ways
            reraise_interrupt(error)
            place = _logged_at(record)
            return _identity(["unknown", record.name, place], record.levelname, place, record.funcName or "")

    def _of_exception(self, record: logging.LogRecord, failure: ExceptionSnapshot) -> Identity:
        links = failure.links
        # Without a traceback, the place of the logging call counts instead.
        key = links if links[0].stack else (*links, record.name, record.pathname, record.lineno, record.funcName)
        found = self._seen.get(key)
        if found is None:
            found = _examine(record, links, self._own)
            self._seen.keep(key, found, sum(map(_frames, links)) or 1)
        return found


_DEFAULT = Identifier()


def identity_of(record: logging.LogRecord) -> Identity:
    """Return the identity that the listener has put on the record, or make one by the default options."""
    known = record.__dict__.get("identity")
    return known if type(known) is Identity else _DEFAULT.identify(record)


class _View(NamedTuple):
    """One stack, as far as it counts."""

    signature: str
    own_place: str
    place: str
    function: str


def _examine(record: logging.LogRecord, links: tuple[Link, ...], own: tuple[str, ...]) -> Identity:
    views, views_before = ([_view(link, own, version) for link in links] for version in (VERSION, 1))
    inside = [_inside(link, own) for link in links]
    texts, before = _texts(links, views), _texts(links, views_before)
    texts += [f"of {text}" for leaves in inside for text in sorted(leaves)]
    before += [f"of {link.member_types}" for link in links if link.member_types]
    if not views[0].place:
        logged = [record.name, relative_path(record.pathname), record.funcName or ""]
        texts, before = texts + logged, before + logged
    leaves = [inside[0][text] for text in sorted(inside[0])]
    places = [views[0], *(_view(leaf, own) for leaf in leaves)]
    if len(leaves) == 1:
        places.reverse()
    shown = min(places, key=lambda view: (not view.own_place, not view.place))
    place = shown.place or _logged_at(record)
    return _identity(texts, _exception_title(links[0], leaves), place, shown.function or record.funcName or "", before)


def _exception_title(link: Link, leaves: list[Link]) -> str:
    if len(leaves) == 1:
        return _title(one_line(_name(leaves[0])))
    names = ", ".join(sorted(map(_name, leaves)))
    return _title(one_line(f"{_name(link)}: {names}" if names else _name(link)))


def _texts(links: tuple[Link, ...], views: list[_View]) -> list[str]:
    """Return the texts that both versions count: the exception's type and frames, and its causes."""
    causes = zip(links[1:], views[1:], strict=True)
    name = _title(one_line(_name(links[0])))
    return [name, views[0].signature, *(f"from {_name(link)} {view.own_place}" for link, view in causes)]


def _inside(group: Link, own: tuple[str, ...]) -> dict[str, Link]:
    """Return the exceptions inside a group, at any depth, by the text that counts; none for another exception."""
    found: dict[str, Link] = {}
    for member in group.members:
        found |= _inside(member, own) or {f"{_name(member)} {_view(member, own).signature}": member}
    return found


def _view(link: Link, own_packages: tuple[str, ...], version: int = VERSION) -> _View:
    frames: list[tuple[bool, str]] = []
    own_place = place = function = ""
    for code, _, traced in link.stack.steps if link.stack else ():
        # An instruction that belongs to no source line has none.
        line = traced or code.co_firstlineno
        path, own = relative_path(code.co_filename), is_own(code.co_filename, own_packages)
        text = f"{path} {numbered_name(code) if own and version > 1 else code.co_qualname}"
        if own:
            text = own_place = f"{text} +{line - code.co_firstlineno}"
        if own or not own_place:
            place, function = f"{path}:{line}", code.co_qualname
        frames.append((own, text))
    if issubclass(link.kind, RecursionError):
        frames = _repeated(frames)
    first_own = next((number for number, (own, _) in enumerate(frames) if own), 0)
    # Each frame once, because the depth of a recursion does not count.
    return _View("\n".join(dict.fromkeys(text for _, text in frames[first_own:])), own_place, place, function)


def _repeated(frames: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """Return the frames that repeat, because chance decides which frame was innermost when the stack was full."""
    times = Counter(frames)
    return [frame for frame in frames if times[frame] > 1] or frames


def _of_message(record: logging.LogRecord) -> Identity:
    template = getattr(record, "template", None)
    pattern = message_pattern(template if isinstance(template, str) else record.getMessage())
    return _identity([record.name, pattern], _title(pattern), _logged_at(record), record.funcName or "")


def _identity(texts: list[str], title: str, place: str, function: str, before: list[str] | None = None) -> Identity:
    """Digest `texts` for this version, and `before`, if it differs, for version 1."""
    digest = _digest(texts)
    first = digest if before is None or before == texts else _digest(before)
    return Identity(f"{VERSION}-{digest}", title, place, function, (first,))


def _digest(texts: list[str]) -> str:
    whole = "\0".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=8).hexdigest()


def _name(link: Link) -> str:
    return type_name(link.kind) or ""


def _frames(link: Link) -> int:
    """Return how many frames the cache keeps for this link, its members included."""
    own: Stack | None = link.stack
    return 1 + (len(own.steps) if own else 0) + sum(map(_frames, link.members))


def _title(what: str) -> str:
    return shortened(what, TITLE_LIMIT)


def _logged_at(record: logging.LogRecord) -> str:
    return f"{relative_path(record.pathname)}:{record.lineno}"
