"""Run the migrations on the database that `quartblog.migrations` passes, else on the one of the settings."""

import asyncio
from typing import Any, Literal

from sqlalchemy import Connection

import quartblog.models  # noqa: F401 - loads every table before the comparison
from alembic import context
from quartblog.database import Base, Database, UtcDateTime
from quartblog.settings import load_settings


def render_item(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Write our types as SQLAlchemy's, so that an old migration does not import today's code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_item=render_item,
        compare_type=True,
        compare_server_default=True,
        # SQLite cannot alter a column, so Alembic copies the table instead.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate(url: str) -> None:
    database = Database(url)
    try:
        async with database.writer.connect() as connection:
            if connection.dialect.name == "sqlite":
                # Copying a table drops the old one, and with foreign keys on that deletes the rows that refer to it.
                # SQLite ignores this pragma inside a transaction, so it runs before, on the driver's connection.
                bare: Any = (await connection.get_raw_connection()).driver_connection
                await bare.execute("PRAGMA foreign_keys=OFF")
            async with connection.begin():
                await connection.run_sync(run)
            if connection.dialect.name == "sqlite":
                await bare.execute("PRAGMA foreign_keys=ON")
    finally:
        await database.close()


asyncio.run(migrate(context.config.attributes.get("url") or load_settings().database.url.get_secret_value()))
