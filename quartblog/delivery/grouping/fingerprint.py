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
also distinguishes lambdas of one function (see `_distinct_name`). All other failures have the digest of version 1.
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

from ..options import QueueOptions
from ..own_log import reraise_interrupt
from ..text.escaping import one_line, shortened
from ..text.exc_info import snapshot_of
from ..text.exceptions import type_name

if TYPE_CHECKING:
    import logging
    from types import CodeType

    from ..text.exceptions import Link

VERSION = 2

LIMIT = 1_000
"""Characters of a message that count, from its beginning."""
TITLE_LIMIT = 200
"""Characters of a title."""
CACHED = 128
"""Exceptions whose identity is cached."""

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


class _Call(NamedTuple):
    """A logging call, as far as it counts."""

    logger: str
    path: str
    function: str
    place: str


_NOWHERE = _Call("", "", "", "")


def _call_of(record: logging.LogRecord) -> _Call:
    path = relative_path(record.pathname)
    return _Call(record.name, path, record.funcName or "", f"{path}:{record.lineno}")


def identity_of(record: logging.LogRecord) -> Identity:
    """Return the identity that the listener has put on the record, or make one by the default options."""
    known = record.__dict__.get("identity")
    return known if type(known) is Identity else identify(record)


def identify(record: logging.LogRecord, own_packages: tuple[str, ...] = QueueOptions().own_packages) -> Identity:
    """Return the record's identity, for a cached exception in a few µs. Never raises. Any thread may call it.

    `own_packages` are installed packages that belong to the program.
    """
    try:
        failure = snapshot_of(record)
        if failure is None:
            return _of_message(record)
        links = failure.links
        # Without a traceback, the place of the logging call counts instead.
        return _of_exception(links, _NOWHERE if links[0].stack else _call_of(record), own_packages)
    except BaseException as error:  # noqa: BLE001  a record may misbehave in a hundred ways
        reraise_interrupt(error)
        call = _call_of(record)
        return _identity(["unknown", call.logger, call.place], record.levelname, call.place, call.function)


class _View(NamedTuple):
    """One stack, as far as it counts."""

    signature: str
    own_place: str
    place: str
    function: str


@lru_cache(maxsize=CACHED)
def _of_exception(links: tuple[Link, ...], call: _Call, own: tuple[str, ...]) -> Identity:
    views, views_before = ([_view(link, own, version) for link in links] for version in (VERSION, 1))
    inside = [_inside(link, own) for link in links]
    texts, before = _texts(links, views), _texts(links, views_before)
    texts += [f"of {text}" for leaves in inside for text in sorted(leaves)]
    before += [f"of {link.member_types}" for link in links if link.member_types]
    if call is not _NOWHERE:
        texts, before = [*texts, *call[:3]], [*before, *call[:3]]
    leaves = [inside[0][text] for text in sorted(inside[0])]
    places = [views[0], *(_view(leaf, own) for leaf in leaves)]
    if len(leaves) == 1:
        places.reverse()
    shown = min(places, key=lambda view: (not view.own_place, not view.place))
    title = _exception_title(links[0], leaves)
    return _identity(texts, title, shown.place or call.place, shown.function or call.function, before)


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
    """Return the exceptions inside a group by the text that counts; none for another exception."""
    return {f"{_name(member)} {_view(member, own).signature}": member for member in group.members}


def _view(link: Link, own_packages: tuple[str, ...], version: int = VERSION) -> _View:
    frames: list[tuple[bool, str]] = []
    own_place = place = function = ""
    for code, _, traced in link.stack.steps if link.stack else ():
        # An instruction that belongs to no source line has none.
        line = traced or code.co_firstlineno
        path, own = relative_path(code.co_filename), is_own(code.co_filename, own_packages)
        text = f"{path} {_distinct_name(code) if own and version > 1 else code.co_qualname}"
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
    call = _call_of(record)
    return _identity([call.logger, pattern], _title(pattern), call.place, call.function)


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


def _title(what: str) -> str:
    return shortened(what, TITLE_LIMIT)


_INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple(
    os.path.normpath(path) + os.sep
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(os.__file__).parent)}
)


# What somebody typed, and `python -c`.
_TYPED = ("<stdin>", "<string>", "<console>", "<ipython")


@lru_cache(maxsize=10_000)
def is_own(path: str, own_packages: tuple[str, ...] = QueueOptions().own_packages) -> bool:
    """Return whether the file is the program's own code.

    Own code is everything outside the standard library and site-packages, and the named packages inside site-packages.
    Code that a library has made is not.
    A name may have dots: `acme.shop` is the folder `acme/shop`.
    """
    if path.startswith("<") and not path.startswith(_TYPED):
        # Libraries make code as well: "<sqlalchemy generated warned() wrapper for …>".
        return False
    parts = path.replace("\\", "/").split("/")
    for folder in _INSTALLED:
        if folder in parts:
            inside = parts[len(parts) - parts[::-1].index(folder) :]
            names = [name.split(".") for name in own_packages]
            return any(inside[: len(name)] in (name, [*name[:-1], f"{name[-1]}.py"]) for name in names)
    return not path.startswith(_STANDARD)


@lru_cache(maxsize=10_000)
def relative_path(path: str) -> str:
    """Return the path relative to the folder Python imported it from; without such a folder, its last three parts."""
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
        # A program may put any object into sys.path, and its working directory may be gone.
        with contextlib.suppress(OSError, TypeError):
            roots.add(str(Path(entry).absolute()))
    inside = [root for root in roots if path.startswith(root.rstrip(os.sep) + os.sep) and root != os.sep]
    if inside:
        return unified[len(max(inside, key=len)) + 1 :]
    return "/".join(unified.split("/")[-3:])


# Several functions of one place may share these names. The last one is that of a singledispatch function's parts.
_ANONYMOUS = frozenset({"<lambda>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "_"})


@lru_cache(maxsize=1024)
def _distinct_name(code: CodeType) -> str:
    """Return the qualified name of the code; of a lambda, also the column where it begins, and what it does.

    Its line does not count, because a change above would move it.
    """
    if code.co_name not in _ANONYMOUS:
        return code.co_qualname
    columns = [column for line, _, column, _ in code.co_positions() if line == code.co_firstlineno and column]
    constants = [constant for constant in code.co_consts if isinstance(constant, str | int | float)]
    does = _digest([code.co_code.hex(), *code.co_names, *code.co_varnames, *map(repr, constants)])
    return f"{code.co_qualname}@{min(columns, default=0)}:{does}"
