"""What every command shares: which settings it runs with, and how what goes wrong is said in one line."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from quartblog.cli import unexpected
from quartblog.cli.streams import show_everything
from quartblog.delivery import block, current_scope, scope
from quartblog.errors.exceptions import QuartblogError, SettingsError
from quartblog.settings import Loaded, Settings, load, load_outbox
from quartblog.settings.load import at_home
from quartblog.settings.sources import CONFIG_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quartblog.delivery import Scope


@dataclass(frozen=True)
class Invocation:
    """One call of the command. `config_path` is what --config named, None without it."""

    config_path: Path | None

    def load(self) -> Loaded:
        """Read the settings and where they came from. Raise SettingsError."""
        return load(self.config_path)

    def settings(self) -> Settings:
        """Read the settings. Raise SettingsError."""
        return self.load().settings

    def outbox(self) -> Path:
        """Read where the outbox is, whatever is wrong with the other settings. Raise SettingsError."""
        return load_outbox(self.config_path)

    def pass_on(self) -> None:
        """Let the processes started from here read the same file."""
        if self.config_path is not None:
            os.environ[CONFIG_VARIABLE] = str(at_home(self.config_path).resolve())


class Finite(click.FloatRange):
    """A number in a range; "nan" and "inf" are none, though Python reads them as such."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse them as any other text."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a valid number.", param, ctx)
        return number


ROWS = click.IntRange(1, 2**63 - 1)
"""A number of rows, or of one: SQLite's integers have 64 bits."""


class Explaining(click.Group):
    """Says what went wrong on standard error in one line and exits 1, without a traceback.

    This project's own errors are expected, and told as they are. Any other is recorded for the operator.
    """

    def main(self, *arguments: Any, **more: Any) -> Any:
        """Run the command, help and complaints included, on streams that take every character."""
        show_everything()
        return super().main(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand. Raise ClickException, or the error itself where it could not be recorded."""
        with scope() as work:
            try:
                with unexpected.breadcrumbs(work):
                    return super().invoke(ctx)
            except QuartblogError as error:
                raise click.ClickException(block(explanation(error))) from error
            except click.ClickException as error:
                error.message = block(error.message)  # type: ignore[misc]  # of any class, with all else it knows
                raise
            except unexpected.EXPECTED:
                raise
            except Exception as error:
                if (line := _recorded(error, work, ctx)) is None:
                    raise
                raise click.ClickException(block(line)) from error

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the subcommand, and let records tell the whole name of the command."""
        if (work := current_scope()) is not None:
            work.route = " ".join(["quartblog", *_names(self, args)])
        return super().resolve_command(ctx, args)


def _recorded(error: Exception, work: Scope, ctx: click.Context) -> str | None:
    invocation = ctx.find_object(Invocation)
    try:
        return None if invocation is None else unexpected.record(error, work, invocation.settings())
    except Exception:  # noqa: BLE001 - what is to be shown is what failed first
        return None


def _names(command: click.Command, args: list[str]) -> Iterator[str]:
    """The subcommands that the arguments begin with: what follows is typed, and may be anything."""
    for word in args:
        if not isinstance(command, click.Group) or word not in command.commands:
            return
        command = command.commands[word]
        yield word


def explanation(error: QuartblogError) -> str:
    """Return the error's message, with the reason behind it, and several problems one below the other."""
    # What is wrong with the settings is told in full already.
    cause = "" if isinstance(error, SettingsError) else str(error.__cause__ or "").strip()
    text = f"{error}: {cause.splitlines()[0]}" if cause else str(error)
    lines = text.splitlines()
    return "\n".join(["several things are wrong:", *(f"  {line}" for line in lines)]) if len(lines) > 1 else text
