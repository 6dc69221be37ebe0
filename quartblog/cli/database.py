"""`quartblog db`: settings -> upgraded tables of the blog's database."""

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
    """Manage the database.

    \b
    Example:
      quartblog db upgrade
    """


@group.command()
@click.pass_obj
def upgrade(invocation: Invocation) -> None:
    """Upgrade the tables to the revision that this version needs.

    `quartblog run` does this before it serves. Run this command if you start the server another way.

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
        # Alembic does not know the revision: a later version of quartblog upgraded the database.
        raise click.ClickException(f"this version of quartblog cannot use the database: {error}") from error
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseUnavailable("cannot upgrade the tables") from error
    return before, migrations.head()
