"""Text of a traceback -> parts: the program's own frames, runs of library frames, and everything else."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from quartblog.delivery.tools import is_own

# The lines of an exception group begin with its frame: "  | ".
_FRAME = re.compile(r'(?P<lead>[ |]*)  File "(?P<path>.*)", line \d+')


class Part(NamedTuple):
    """Some lines of a traceback."""

    kind: Literal["own", "library", "text"]
    text: str
    frames: int
    """How many frames it has."""


def parts(traceback: str) -> tuple[Part, ...]:
    """Divide a traceback; the texts of all parts together are the traceback again."""
    found: list[Part] = []
    for kind, text in _pieces(traceback):
        if found and found[-1].kind == kind and kind != "own":
            before = found.pop()
            found.append(Part(kind, f"{before.text}\n{text}", before.frames + (kind == "library")))
        else:
            found.append(Part(kind, text, int(kind != "text")))
    return tuple(found)


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
