"""Command line -> a subcommand of `quartblog`; each group of subcommands has a module."""

from __future__ import annotations

from pathlib import Path

import click

from quartblog import __version__
from quartblog.cli import backup, config, database, delivery, errors, mail, operations, run, users
from quartblog.cli.invocation import Explaining, Invocation

__all__ = ["main"]


@click.group(cls=Explaining, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    metavar="PATH",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file.  [default: $QUARTBLOG_CONFIG, else config.toml if it exists]",
)
@click.version_option(__version__, prog_name="quartblog")
@click.pass_context
def main(context: click.Context, config_path: Path | None) -> None:
    """Run and operate a small self-hosted microblog.

    \b
    Example:
      quartblog run
      quartblog --config /etc/quartblog.toml config check
    """
    context.obj = Invocation(config_path)


for command in (
    run.command,
    config.group,
    database.group,
    users.group,
    mail.group,
    delivery.group,
    errors.group,
    operations.group,
    backup.command,
):
    main.add_command(command)
