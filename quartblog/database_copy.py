"""All rows of one database -> the same rows in another one: a site moves from SQLite to PostgreSQL, or back.

Rows are copied by ascending id, each part in a transaction of its own. A later run goes on after the last part. At the
end both sides are compared by counts and checksums.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Table, func, insert, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from quartblog import migrations
from quartblog.database import Database
from quartblog.errors.exceptions import CopyRefused
from quartblog.models import TABLES

# Rows of a part: copying them takes tens of milliseconds.
PART = 1_000


class Sum(NamedTuple):
    """What two tables with the same rows have in common."""

    rows: int
    checksum: str
    """SHA-256 of all values, in the order of the ids."""


async def copy(source_url: str, target_url: str, progress: Callable[[int, int], None]) -> dict[str, Sum]:
    """Copy every table, and return the sums of each.

    Call `progress` with the rows that are in the target and with all rows. The target needs the tables of this version,
    without rows or with those of an interrupted copy. Raise CopyRefused when it has others, or when the source changed
    meanwhile; SchemaOutdated; DatabaseUnavailable.
    """
    if make_url(source_url) == make_url(target_url):
        raise CopyRefused("both are the same database")
    async with _opened(source_url) as source, _opened(target_url) as target:
        for table in TABLES:
            await _check_part(table, source, target)
        total = sum([await _count(table, source) for table in TABLES])
        done = sum([await _count(table, target) for table in TABLES])
        progress(done, total)
        for table in TABLES:
            async for rows in _missing(table, source, target):
                done += rows
                progress(done, max(done, total))
        sums = {}
        for table in TABLES:
            sums[table.name] = await _compare(table, source, target)
            async with target.transaction() as session:
                await _continue_after(table, await _last_number(table, source), session)
        return sums


async def _check_part(table: Table, source: Database, target: Database) -> None:
    """Raise CopyRefused unless the target's rows are the first ones of the source."""
    last = await _last_id(table, target)
    if last is not None and await _sum(table, source, last) != await _sum(table, target, last):
        raise CopyRefused(
            f"the target has other rows in {table.name} than the source: copy into an empty database, whose tables"
            " `quartblog db upgrade` makes"
        )


async def _missing(table: Table, source: Database, target: Database) -> AsyncIterator[int]:
    """Copy the rows that the target lacks, and yield the number of each part."""
    last = await _last_id(table, target)
    async for rows in _parts(table, source, after=last):
        async with target.transaction() as session:
            await session.execute(insert(table), [dict(row._mapping) for row in rows])  # noqa: SLF001  its public API
        yield len(rows)


async def _compare(table: Table, source: Database, target: Database) -> Sum:
    """Return the sum of both sides. Raise CopyRefused if they differ."""
    wanted, found = await _sum(table, source), await _sum(table, target)
    if wanted != found:
        raise CopyRefused(
            f"{table.name} has {wanted.rows} rows in the source and {found.rows} in the target, or other values: the"
            " source changed meanwhile; stop the site, and copy into an empty database"
        )
    return found


async def _sum(table: Table, database: Database, last: int | None = None) -> Sum:
    """Return the sum of the rows, up to the id `last`."""
    rows, checksum = 0, hashlib.sha256()
    async for part in _parts(table, database, last=last):
        rows += len(part)
        for row in part:
            checksum.update(repr([_plain(value) for value in row]).encode("utf-8", "surrogatepass"))
    return Sum(rows, checksum.hexdigest())


async def _parts(
    table: Table, database: Database, *, after: int | None = None, last: int | None = None
) -> AsyncIterator[list[Any]]:
    """Yield the rows with ids above `after` and up to `last`, in parts."""
    query = select(table).order_by(table.c.id).limit(PART)
    if last is not None:
        query = query.where(table.c.id <= last)
    while True:
        async with database.reading() as connection:
            part = list(await connection.execute(query if after is None else query.where(table.c.id > after)))
        if not part:
            return
        yield part
        after = part[-1].id


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


async def _count(table: Table, database: Database) -> int:
    async with database.reading() as connection:
        return await connection.scalar(select(func.count()).select_from(table)) or 0


async def _last_id(table: Table, database: Database) -> int | None:
    async with database.reading() as connection:
        found: int | None = await connection.scalar(select(func.max(table.c.id)))
        return found


async def _last_number(table: Table, source: Database) -> int:
    """Return the largest id that the table ever gave, 0 for none: the id of a deleted account is not given again."""
    async with source.reading() as connection:
        if _is_sqlite(connection):
            statement = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        else:
            statement = text("SELECT pg_sequence_last_value(pg_get_serial_sequence(:name, 'id')::regclass)")
        return await connection.scalar(statement, {"name": table.name}) or 0


async def _continue_after(table: Table, number: int, session: AsyncSession) -> None:
    """Let the next row of the target get a larger id than `number`."""
    values = {"name": table.name, "number": number}
    if number == 0:
        return
    if not _is_sqlite(await session.connection()):
        await session.execute(text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :number)"), values)
        return
    # Without rows the table has no entry yet.
    await session.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
    await session.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)"), values)


def _is_sqlite(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "sqlite"


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        await migrations.check(database)
        yield database
    finally:
        await database.close()
