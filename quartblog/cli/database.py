"""`quartblog db`: the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from quartblog import migrations
from quartblog.cli import ownership
from quartblog.errors.exceptions import DatabaseUnavailable

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.settings import Settings


@click.group("db")
def group() -> None:
    """Look after the database.

    \b
    Example:
      quartblog db upgrade
    """


@group.command()
@click.pass_obj
def upgrade(invocation: Invocation) -> None:
    """Bring the tables to what this version needs.

    `quartblog run` does the same before it serves; this is for those who start the server another way.

    \b
    Example:
      quartblog db upgrade
    """
    before, after = bring_up_to_date(invocation.settings())
    click.echo(f"already at {after}" if before == after else f"{before or 'empty'} -> {after}")


def bring_up_to_date(settings: Settings) -> tuple[str | None, str | None]:
    """Migrate and return the revisions before and after. Raise DatabaseUnavailable, ClickException."""
    url = settings.database.url.get_secret_value()
    file = migrations.sqlite_file(url)
    try:
        if file is not None:
            ownership.make_database(file)
        before = migrations.current(url)
        migrations.upgrade(url)
    except CommandError as error:
        # Alembic names a revision this version does not have: the database was made by a later one.
        raise click.ClickException(f"the database does not fit this version of quartblog: {error}") from error
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseUnavailable("the tables cannot be brought up to date") from error
    return before, migrations.head()
