"""Database URL -> all rows of all tables."""

from sqlalchemy import select

from quartblog.database import Database
from quartblog.models import TABLES


async def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of a database."""
    database = Database(url)
    async with database.reading() as connection:
        found = {
            table.name: [tuple(row) for row in await connection.execute(select(table).order_by(table.c.id))]
            for table in TABLES
        }
    await database.close()
    return found
