"""The schema's revision: what the code needs, what a database has, and how to get from one to the other."""

import asyncio
import logging
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url

from alembic import command
from quartblog.database import Database
from quartblog.errors.exceptions import SchemaOutdated
from quartblog.paths import shipped

# Alembic tells at INFO which database it looks at, on every start of every worker.
logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to a revision, making SQLite's folder and file where there are none.

    Runs its own event loop: call it before the workers start, never in one.
    """
    if (file := sqlite_file(url)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Addresses and password hashes: nobody else on this machine has to read them.
        file.touch(mode=0o600)
    command.upgrade(_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Go back to an earlier revision. A migration refuses where rows would be lost."""
    command.downgrade(_config(url), revision)


def head() -> str | None:
    """The revision this version of the code was written for."""
    return ScriptDirectory.from_config(_config("")).get_current_head()


def current(url: str) -> str | None:
    """The database's revision, None where it has no tables yet. Runs its own event loop."""
    if (file := sqlite_file(url)) is not None and not file.exists():
        return None
    return asyncio.run(_current(url))


async def check(database: Database) -> None:
    """Raise SchemaOutdated unless the database has exactly the revision the code needs."""
    found, needed = await _revision(database), head()
    if found != needed:
        raise SchemaOutdated(
            f"the database is at revision {found or 'none'}, this version needs {needed}: run `quartblog db upgrade`"
        )


def sqlite_file(url: str) -> Path | None:
    """The file behind a SQLite URL, None for another database or one in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        return None
    return Path(str(parsed.database))


async def _current(url: str) -> str | None:
    database = Database(url)
    try:
        return await _revision(database)
    finally:
        await database.close()


async def _revision(database: Database) -> str | None:
    async with database.reading() as session:
        return await (await session.connection()).run_sync(_read_revision)


def _read_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(shipped("alembic")).replace("%", "%%"))
    config.attributes["url"] = url
    return config
