"""`quartblog config`: settings -> a table of effective values, their origins, and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from quartblog.app import check_options
from quartblog.cli import output
from quartblog.delivery.tools import one_line
from quartblog.errors.exceptions import SettingsError
from quartblog.serving.configuration import configuration
from quartblog.settings import permissions, report

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.settings import Loaded, Settings


@click.group("config")
def group() -> None:
    """Show and check the settings.

    \b
    Example:
      quartblog config check
    """


@group.command()
@output.json_option
@click.pass_obj
def check(invocation: Invocation, *, as_data: bool) -> None:
    """Print each effective value and its origin.

    A * marks each value that differs from the default; in JSON its "changed" is true. The last line names the settings
    file. Secrets are masked. Standard error has a warning for each valid setting that is probably a mistake. If
    `quartblog run` could not start, the command lists every problem and exits 1.

    \b
    Example:
      quartblog config check
      QUARTBLOG_MAIL__PORT=587 quartblog config check --json
    """
    loaded = invocation.load()
    _stand_for_the_start(loaded.settings)
    warnings = [*report.warnings(loaded.settings), *permissions.warnings(loaded)]
    if as_data:
        output.print_json(_data(loaded, warnings))
    else:
        click.echo(_as_table(loaded))
    for warning in warnings:
        output.say(f"Warning: {warning}", err=True)


def _stand_for_the_start(settings: Settings) -> None:
    """Raise SettingsError for every problem that would stop `quartblog run`."""
    check_options(settings)
    configuration(None, None, None)
    if obstacles := "\n".join(report.obstacles(settings)):
        raise SettingsError(obstacles)


def _data(loaded: Loaded, warnings: list[str]) -> dict[str, Any]:
    values = [
        {
            "section": entry.section,
            "key": entry.key,
            "value": entry.value,
            "origin": entry.origin,
            "changed": entry.changed,
        }
        for entry in report.entries(loaded)
    ]
    file = str(loaded.file) if loaded.file else None
    return {"file": file, "values": values, "warnings": warnings}


def _as_table(loaded: Loaded) -> str:
    values = [
        ("*" if entry.changed else " ", f"[{entry.section}] {entry.key}", entry.shown, entry.origin)
        for entry in report.entries(loaded)
    ]
    file = one_line(str(loaded.file or f"none{loaded.missing}"))
    return f"{output.table(values)}\n\n* differs from the default\nSettings file: {file}"
