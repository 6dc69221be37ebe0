"""Database URL -> its schema revision, compared with the one the code needs, or migrated to it."""

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

# At INFO, Alembic logs its database context on every start of every worker.
logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)

COPYING = "copying "
"""How the revision of an unfinished copy begins."""


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database up to a revision; create SQLite's folder and file if they are missing.

    Raise SchemaOutdated for an unfinished copy. The function runs an event loop: call it before the workers start,
    never inside a running loop.
    """
    _refuse_copy(current(url))
    if (file := sqlite_file(url)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The file holds addresses and password hashes, so only its owner may read it.
        file.touch(mode=0o600)
    command.upgrade(_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate the database down to a revision. A migration raises instead of deleting rows."""
    command.downgrade(_config(url), revision)


def head() -> str | None:
    """Return the revision that this version of the code needs."""
    return ScriptDirectory.from_config(_config("")).get_current_head()


def copying() -> str:
    """Return the revision of an unfinished copy.

    No version of quartblog has a migration of this name, so every one, also an older one, refuses the database.
    """
    return f"{COPYING}{head()}"


def current(url: str) -> str | None:
    """Return the database's revision, None before the first migration. The function runs an event loop."""
    if (file := sqlite_file(url)) is not None and not file.exists():
        return None
    return asyncio.run(_current(url))


async def check(database: Database) -> None:
    """Raise SchemaOutdated unless the database has exactly the revision the code needs."""
    require(await _revision(database))


def require(found: str | None) -> None:
    """Raise SchemaOutdated unless the revision is the one that the code needs."""
    _refuse_copy(found)
    if found != (needed := head()):
        raise SchemaOutdated(
            f"the database is at revision {found or 'none'}, this version needs {needed}: run `quartblog db upgrade`"
        )


def revision(connection: Connection) -> str | None:
    """Return the revision in the database of the connection, None before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL, None for another database or one in memory."""
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
    async with database.reading() as connection:
        return await connection.run_sync(revision)


def _refuse_copy(found: str | None) -> None:
    if found is not None and found.startswith(COPYING):
        raise SchemaOutdated("the database is an unfinished copy: run the same `quartblog db copy` again")


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(shipped("alembic")).replace("%", "%%"))
    config.attributes["url"] = url
    return config
