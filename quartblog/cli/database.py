"""`quartblog db`: settings -> upgraded tables of the blog's database; two URLs -> its rows in another one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click
from alembic.util import CommandError
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from quartblog import database_copy, migrations
from quartblog.cli import ownership
from quartblog.cli.output import json_option, print_json, say, table
from quartblog.cli.progress import progress
from quartblog.delivery import current_scope
from quartblog.errors.exceptions import DatabaseUnavailable
from quartblog.settings.kinds import Engine

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.settings import Settings


def _url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Check a URL as [database] url is checked, and keep its password out of every record."""
    if (work := current_scope()) is not None:
        work.hide(lambda: [value])
    try:
        return str(TypeAdapter(Engine).validate_python(value).get_secret_value())
    except ValidationError as error:
        [problem] = error.errors(include_input=False)
        # A message of ours quotes nothing of the URL.
        why = str(problem["ctx"]["error"]) if problem["type"] == "value_error" else "not the URL of a database"
        allowed = "sqlite+aiosqlite:///FOLDER/FILE or postgresql+asyncpg://USER@HOST/NAME"
        raise click.BadParameter(f"{why}; allowed is {allowed}") from error


@click.group("db")
def group() -> None:
    """Manage the database.

    \b
    Example:
      quartblog db upgrade
      quartblog db copy sqlite+aiosqlite:///instance/quartblog.sqlite3 postgresql+asyncpg://blog@localhost/blog
    """


@group.command()
@json_option
@click.pass_obj
def upgrade(invocation: Invocation, *, as_data: bool) -> None:
    """Upgrade the tables to the revision that this version needs.

    `quartblog run` does this before it serves. Run this command if you start the server another way.

    \b
    Example:
      quartblog db upgrade
      quartblog db upgrade --json | jq -r .to
    """
    before, after = bring_up_to_date(invocation.settings())
    if as_data:
        print_json({"from": before, "to": after})
        return
    click.echo(f"already at {after}" if before == after else f"{before or 'empty'} -> {after}")


@group.command()
@click.argument("source", metavar="FROM", callback=_url)
@click.argument("target", metavar="TO", callback=_url)
@json_option
def copy(source: str, target: str, *, as_data: bool) -> None:
    """Copy a site's rows into another database.

    FROM is the URL of the database that has the rows, as in [database] url. TO is the URL of an empty one, whose tables
    the command makes: so a site moves from SQLite to PostgreSQL, or back. Stop the site first, and start it when the
    copy is complete. After an interruption, run the command again, and it goes on. At the end it compares both sides by
    counts and checksums. No site starts on TO before that. For PostgreSQL, leave the password out of the URL and set
    PGPASSWORD: other users of the machine can read the arguments of a command.

    \b
    Example:
      quartblog db copy sqlite+aiosqlite:///instance/quartblog.sqlite3 postgresql+asyncpg://blog@localhost/blog
      quartblog db copy "$FROM" "$TO" --json | jq '.tables[].rows'
    """
    try:
        asyncio.run(database_copy.check(source, target))
        if migrations.current(target) != migrations.copying():
            _upgrade(target)
        with progress("Copying and comparing") as show:
            sums = asyncio.run(database_copy.copy(source, target, show))
    except KeyboardInterrupt:
        say("Interrupted: run the same command again, and it goes on", err=True)
        raise click.exceptions.Exit(1) from None
    if as_data:
        print_json({"tables": [{"table": name, **found._asdict()} for name, found in sums.items()]})
        return
    rows = [("table", "rows", "checksum"), *((name, f"{found.rows:,}", found.checksum) for name, found in sums.items())]
    say(table(rows, right=frozenset({1})))
    say("Both sides are equal. Rows written to FROM since then are not in TO.")
    say("Set [database] url to TO, and start the site.")


def bring_up_to_date(settings: Settings) -> tuple[str | None, str | None]:
    """Migrate and return the revisions before and after. Raise DatabaseUnavailable, SchemaOutdated, ClickException."""
    return _upgrade(settings.database.url.get_secret_value())


def _upgrade(url: str) -> tuple[str | None, str | None]:
    file = migrations.sqlite_file(url)
    try:
        if file is not None:
            ownership.make_database(file)
        before = migrations.current(url)
        migrations.upgrade(url)
    except CommandError as error:
        # Alembic does not know the revision: a later version of quartblog upgraded the database.
        raise click.ClickException(f"this version of quartblog cannot use the database: {error}") from error
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseUnavailable("cannot upgrade the tables") from error
    return before, migrations.head()
