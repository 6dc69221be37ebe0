"""The option --limit -> how many rows a list reads, and a note of those that it leaves out."""

from __future__ import annotations

import shutil
import sys

import click

from quartblog.cli.invocation import MOST, ROWS

LINES = 100
"""Lines of a table without --limit. A script that reads JSON gets everything."""

limit_option = click.option(
    "--limit", type=ROWS, metavar="N", help=f"Show the latest N.  [default: {LINES}; with --json, all]"
)


def rows(limit: int | None, *, as_data: bool) -> int:
    """Return how many rows to read, at most."""
    return limit or (MOST if as_data else LINES)


def table_width() -> int | None:
    """Return the cells of a line of the terminal; None for a pipe or a file, which has room for everything."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def note_rest(shown: int, total: int) -> None:
    """Print to stderr how many rows a table shows, unless it shows all."""
    if shown < total:
        click.echo(f"{shown:,} of {total:,} shown; --limit N shows more", err=True)
