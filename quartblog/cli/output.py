"""Values -> printed tables, times and JSON, with control characters escaped so that no text can steer the terminal."""

from __future__ import annotations

import json
import time
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from quartblog.delivery.tools import block, json_safe, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_AS_DATA = f"{__name__}.as_data"
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def _note(context: click.Context, _option: click.Parameter, value: bool) -> bool:  # noqa: FBT001  click calls it
    context.meta[_AS_DATA] = value
    return value


json_option = click.option(
    "--json", "as_data", is_flag=True, callback=_note, help="Print JSON instead of text, also for a failure."
)
"""The option of every command that prints a result. The command gets it as `as_data`."""


class PartlyDone(click.ClickException):
    """A failure of a command that has done some of its work."""

    def __init__(self, message: str, done: Mapping[str, object]) -> None:
        """`done`: the result, as --json prints it beside the problems."""
        super().__init__(message)
        self.done = done


def wants_json(context: click.Context) -> bool:
    """Return whether the command of this context, or its subcommand, was given --json."""
    return bool(context.meta.get(_AS_DATA))


def say(text: str, *, err: bool = False) -> None:
    """Print a text that may hold a stranger's input; keep its lines and escape control characters."""
    click.echo(block(text), err=err)


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Return the rows in columns as wide as their widest cell; columns in `right` are right-aligned."""
    lines = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            _padded(cell, width, right=place in right)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in lines
    )


def print_json(value: object) -> None:
    """Print the result of a command that was given --json."""
    click.echo(as_json(value))


def as_json(value: object) -> str:
    """Return indented JSON with all control characters escaped, so that it is safe to print."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return "\n".join(map(json_safe, text.split("\n")))


def moment(at: float) -> str:
    """Return epoch seconds as local time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def iso(at: float | None) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC, for JSON."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def span(seconds: float, units: int = 2) -> str:
    """Return a time span in its two largest units, as in `3 min 20 s`; a negative one is `0.0 s`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    left = round(seconds)
    parts = []
    for size, name in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {name}")
            left %= size
        elif parts:
            break
    return " ".join(parts[:units])


def count(number: int, thing: str, things: str | None = None) -> str:
    """Return `1 mail`, `1,204 mails`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def cells(text: str) -> int:
    """Return the width of the text in a terminal, where most Chinese characters take two cells."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def clipped(text: str, width: int) -> str:
    """Return the text in at most `width` cells, with "…" at the end if it was cut."""
    text = one_line(text)
    if cells(text) <= width:
        return text
    while cells(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def _padded(text: str, width: int, *, right: bool = False) -> str:
    room = " " * (width - cells(text))
    return room + text if right else text + room
