"""Command -> its settings, its log scope, and one line on standard error for a failure."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from quartblog.cli import unexpected
from quartblog.cli.output import PartlyDone, print_json, wants_json
from quartblog.cli.streams import show_everything
from quartblog.delivery import current_scope, scope
from quartblog.delivery.tools import block
from quartblog.errors.exceptions import BackupFailed, QuartblogError, SettingsError
from quartblog.settings import Loaded, Settings, load, load_outbox
from quartblog.settings.load import at_home
from quartblog.settings.sources import CONFIG_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quartblog.delivery import Scope


# What may help, by PostgreSQL's SQLSTATE. Its own words name the role or the database.
_ROLE = "Create a missing role with `createuser -P ROLE`; put its password into [database] url or PGPASSWORD"
_ADVICE = {
    "28000": _ROLE,
    "28P01": _ROLE,
    "3D000": "Create it with `createdb -O ROLE NAME`",
    "42501": "Let the role own the database: `ALTER DATABASE NAME OWNER TO ROLE`",
}
# The first line of a message that lists several problems, and what each further line begins with.
_SEVERAL = "several problems:"
_INDENT = "  "


@dataclass(frozen=True)
class Invocation:
    """One call of the command. `config_path` is the value of --config, None without it."""

    config_path: Path | None

    def load(self) -> Loaded:
        """Read the settings and their origins. Raise SettingsError."""
        return load(self.config_path)

    def settings(self) -> Settings:
        """Read the settings. Raise SettingsError."""
        return self.load().settings

    def outbox(self) -> Path:
        """Read the outbox's path, and ignore problems of other settings. Raise SettingsError."""
        return load_outbox(self.config_path)

    def pass_on(self) -> None:
        """Make child processes read the same file."""
        if self.config_path is not None:
            os.environ[CONFIG_VARIABLE] = str(at_home(self.config_path).resolve())


class Finite(click.FloatRange):
    """A number in a range; unlike click's type it refuses "nan" and "inf"."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value, and fail for one that is not finite."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a valid number.", param, ctx)
        return number


MOST = 2**63 - 1
"""SQLite's integers have 64 bits."""
ROWS = click.IntRange(1, MOST)
"""A count of rows or a row's number."""


class Explaining(click.Group):
    """Prints a failure as one line on standard error and exits 1, without a traceback.

    It prints the message of this project's own errors, which are expected. It records any other exception in the log.
    With --json it also prints the problems on standard output, so a script finds JSON there in any case.
    """

    def main(self, *arguments: Any, **more: Any) -> Any:
        """Run the command on streams that accept every character, for help and usage errors too."""
        show_everything()
        return super().main(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand. Raise ClickException, or the original error if it cannot be recorded."""
        with scope() as work:
            try:
                with unexpected.breadcrumbs(work):
                    return super().invoke(ctx)
            except QuartblogError as error:
                raise _reported(click.ClickException(explanation(error)), ctx) from error
            except click.ClickException as error:
                _reported(error, ctx)
                raise
            except unexpected.EXPECTED:
                raise
            except Exception as error:
                if (line := _recorded(error, work, ctx)) is None:
                    raise
                raise _reported(click.ClickException(line), ctx) from error

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the subcommand, and put the full name of the command into its records."""
        if (work := current_scope()) is not None:
            work.route = " ".join(["quartblog", *_names(self, args)])
        return super().resolve_command(ctx, args)


def _reported(error: click.ClickException, ctx: click.Context) -> click.ClickException:
    """Print the failure of a command with --json, unless the command line was wrong. Make the message safe to print."""
    if error.exit_code == 1 and wants_json(ctx):
        done = error.done if isinstance(error, PartlyDone) else {}
        problems = [line.removeprefix(_INDENT) for line in error.message.splitlines() if line != _SEVERAL]
        print_json({**done, "problems": problems})
    error.message = block(error.message)  # type: ignore[misc]  # keeps the class and its other attributes
    return error


def _recorded(error: Exception, work: Scope, ctx: click.Context) -> str | None:
    invocation = ctx.find_object(Invocation)
    try:
        return None if invocation is None else unexpected.record(error, work, invocation.settings())
    except Exception:  # noqa: BLE001 - the caller then shows the first error
        return None


def _names(command: click.Command, args: list[str]) -> Iterator[str]:
    """Yield the names of subcommands at the start of the arguments; later arguments may hold secrets."""
    for word in args:
        if not isinstance(command, click.Group) or word not in command.commands:
            return
        command = command.commands[word]
        yield word


def explanation(error: QuartblogError) -> str:
    """Return the error's message with its cause; several problems get a line each."""
    # The messages of these include their cause.
    cause = None if isinstance(error, SettingsError | BackupFailed) else error.__cause__
    # SQLAlchemy would put the path of a class before the driver's words.
    driver = getattr(cause, "driver_exception", cause)
    words = str(driver or "").strip().partition("\n")[0]
    if advice := _ADVICE.get(getattr(driver, "sqlstate", "")):
        return f"PostgreSQL refuses access: {words}. {advice}"
    text = f"{error}: {words}" if words else str(error)
    lines = text.splitlines()
    return "\n".join([_SEVERAL, *(f"{_INDENT}{line}" for line in lines)]) if len(lines) > 1 else text
