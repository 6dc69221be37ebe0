"""Text of a traceback -> parts: own frames with the source around them, runs of library frames, everything else."""

import linecache
import os
import re
import stat
from collections.abc import Iterator
from typing import Literal, NamedTuple

from quartblog.delivery.tools import is_own

# The lines of an exception group begin with its frame: "  | ".
_FRAME = re.compile(r'(?P<lead>[ |]*)  File "(?P<path>.*)", line (?P<line>\d{1,9})')
# Below a line of source, where in it the error happened.
_MARKERS = re.compile(r"[ |]+[~^][ ~^]*")

AROUND = 3
"""Lines of source shown before and after that of an own frame."""
LARGEST = 1_000_000
"""Bytes of a module that is read."""


class Line(NamedTuple):
    """A line of source."""

    number: int | None
    """None for the marks below the line where the error happened."""
    text: str
    here: bool
    """Whether the error happened here."""


class Part(NamedTuple):
    """Some lines of a traceback."""

    kind: Literal["own", "library", "text"]
    text: str
    frames: int
    """How many frames it has."""
    source: tuple[Line, ...] = ()
    """The lines around an own frame; none where the file is gone, or has another line there since."""


def parts(traceback: str) -> tuple[Part, ...]:
    """Divide a traceback; the texts of all parts together are the traceback again. This reads source files."""
    found: list[Part] = []
    for kind, text in _pieces(traceback):
        if found and found[-1].kind == kind and kind != "own":
            before = found.pop()
            found.append(Part(kind, f"{before.text}\n{text}", before.frames + (kind == "library")))
        else:
            found.append(Part(kind, text, int(kind != "text"), _source(text) if kind == "own" else ()))
    return tuple(found)


def _source(frame: str) -> tuple[Line, ...]:
    head, *rest = frame.split("\n")
    place = _FRAME.match(head)
    if place is None or not rest or not _is_module(place["path"]):
        return ()
    number, stripped = int(place["line"]), rest[0].strip(" |")
    linecache.checkcache(place["path"])
    lines = [line.rstrip("\n") for line in linecache.getlines(place["path"])]
    # Another release may have another line there.
    if not stripped or not 0 < number <= len(lines) or lines[number - 1].strip(" |") != stripped:
        return ()
    found = [
        Line(at, lines[at - 1], at == number)
        for at in range(max(1, number - AROUND), min(len(lines), number + AROUND) + 1)
    ]
    if len(rest) == 2 and _MARKERS.fullmatch(rest[1]):
        shift = lines[number - 1].index(stripped) - rest[0].index(stripped)
        marks = " " * shift + rest[1] if shift >= 0 else rest[1][-shift:]
        found.insert(min(number, AROUND + 1), Line(None, marks, here=False))
    return tuple(found)


def _is_module(path: str) -> bool:
    """Whether to read the file: a traceback is a text, and a stranger may have written a part of it."""
    if not path.endswith(".py"):
        return False
    try:
        found = os.stat(path)  # noqa: PTH116  a name with a NUL raises ValueError in both
    except (OSError, ValueError):
        return False
    # To open a pipe would wait for its writer.
    return stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST


def _pieces(traceback: str) -> Iterator[tuple[Literal["own", "library", "text"], str]]:
    kind: Literal["own", "library", "text"] = "text"
    lines: list[str] = []
    lead = ""
    for line in traceback.split("\n"):
        frame = _FRAME.match(line)
        # A frame's source lines are indented further.
        ends = kind != "text" and not line.startswith(f"{lead}    ")
        if (frame or ends) and lines:
            yield kind, "\n".join(lines)
            lines = []
        if frame:
            kind, lead = "own" if is_own(frame["path"]) else "library", frame["lead"]
        elif ends:
            kind = "text"
        lines.append(line)
    if lines:
        yield kind, "\n".join(lines)
