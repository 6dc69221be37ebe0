"""`quartblog config`: which settings hold, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from quartblog.app import mail_options
from quartblog.cli.output import table
from quartblog.errors.exceptions import SettingsError
from quartblog.settings import report

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.settings import Loaded


@click.group("config")
def group() -> None:
    """Look at the settings.

    \b
    Example:
      quartblog config check
    """


@group.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_obj
def check(invocation: Invocation, *, as_json: bool) -> None:
    """Print each effective value and where it came from.

    The last line tells which file was read. Secrets are masked. Exits 1 and lists every problem where the settings
    cannot be used; what is allowed but probably not meant is a warning on standard error.

    \b
    Example:
      quartblog config check
      QUARTBLOG_MAIL__PORT=587 quartblog config check --json
    """
    try:
        loaded = invocation.load()
        # What the delivery refuses, the start refuses too: it belongs to the check.
        mail_options(loaded.settings)
    except SettingsError as error:
        if as_json:
            click.echo(json.dumps({"problems": str(error).splitlines()}, ensure_ascii=False, indent=2))
        raise
    warnings = list(report.warnings(loaded.settings))
    click.echo(_as_json(loaded, warnings) if as_json else _as_table(loaded))
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)


def _as_json(loaded: Loaded, warnings: list[str]) -> str:
    values = [
        {"section": entry.section, "key": entry.key, "value": entry.value, "origin": entry.origin}
        for entry in report.entries(loaded)
    ]
    file = str(loaded.file) if loaded.file else None
    return json.dumps({"file": file, "values": values, "warnings": warnings}, ensure_ascii=False, indent=2)


def _as_table(loaded: Loaded) -> str:
    values = [(f"[{entry.section}] {entry.key}", entry.shown, entry.origin) for entry in report.entries(loaded)]
    return f"{table(values)}\n\nSettings file: {loaded.file or f'none{loaded.missing}'}"
