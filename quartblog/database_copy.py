"""All rows of one database -> the same rows in another one: a site moves from SQLite to PostgreSQL, or back.

The first transaction marks the target as an unfinished copy, and the last one removes the mark, so no site starts on a
part of the rows. Rows are copied by ascending id, each part in a transaction of its own. A later run continues after
the last copied part. Before the mark goes, both sides must have the same counts and checksums.
"""

import hashlib
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Select,
    Table,
    create_engine,
    func,
    insert,
    inspect,
    literal,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from quartblog import migrations
from quartblog.database import Database
from quartblog.errors.exceptions import CopyRefused, DatabaseUnavailable, SchemaOutdated
from quartblog.models import TABLES

# Rows of a part: copying them takes tens of milliseconds.
PART = 1_000

_VERSION = "alembic_version"

T = TypeVar("T")
Advance = Callable[[int], None]


class Sum(NamedTuple):
    """The size of a table, and a checksum of its content."""

    rows: int
    checksum: str
    """SHA-256 of all values, in the order of the ids."""


async def check(source_url: str, target_url: str) -> None:
    """Raise CopyRefused, before anything is changed, if the source must not be copied into the target.

    Both may still change before `copy` begins, which checks the target again. Raise DatabaseUnavailable.
    """
    file = migrations.sqlite_file(source_url)
    if file is not None and not file.exists():
        raise CopyRefused(f"{file} does not exist")
    try:
        migrations.require(await _look(source_url, migrations.revision))
    except SchemaOutdated as error:
        raise CopyRefused(f"FROM cannot be copied: {error}") from None
    file = migrations.sqlite_file(target_url)
    if file is not None and not file.exists():
        return
    if await _look(source_url, _identity) == await _look(target_url, _identity):
        raise CopyRefused("FROM and TO are the same database")
    await _look(target_url, lambda connection: _check_target(connection, target_url))


async def copy(source_url: str, target_url: str, progress: Callable[[int, int], None]) -> dict[str, Sum]:
    """Copy every table, and return the sums of each.

    Each row is copied once and then read on both sides for its checksum. Call `progress` with the number of these steps
    that are done, and of all. The target needs the tables of this version: without rows, or as an earlier run left
    them. Raise CopyRefused for another target, for a row that cannot be copied, or when the source changed meanwhile;
    SchemaOutdated; DatabaseUnavailable.
    """
    async with _opened(source_url) as source, _opened(target_url) as target:
        await migrations.check(source)
        await _mark(target, target_url)
        total = 3 * sum([await _count(table, source) for table in TABLES])
        done = 0

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            progress(done, max(done, total))

        advance(sum([await _count(table, target) for table in TABLES]))
        for table in TABLES:
            await _copy_rows(table, source, target, advance)
        # A table that changed after its comparison would not be noticed.
        async with _held_still(source):
            sums = {table.name: await _compare(table, source, target, advance) for table in TABLES}
            numbers = {table.name: await _last_number(table, source) for table in TABLES}
            async with _unfinished(target) as session:
                for name, number in numbers.items():
                    await _continue_after(name, number, session)
                await session.execute(_set_revision(migrations.head()))
        return sums


def _check_target(connection: Connection, url: str) -> None:
    """Raise CopyRefused unless the target is empty or an unfinished copy of this version."""
    found = migrations.revision(connection)
    if found == migrations.copying():
        return
    if found is not None and found.startswith(migrations.COPYING):
        raise CopyRefused(
            f"another version of quartblog began a copy into TO: finish it with that version, or {_begin_anew(url)}"
        )
    names = set(inspect(connection).get_table_names())
    if others := sorted(names - {_VERSION} - {table.name for table in TABLES}):
        raise CopyRefused(f"TO has tables of another program ({', '.join(others)}): name an empty database")
    used = [table.name for table in TABLES if table.name in names and _has_rows(table, connection)]
    if used:
        raise CopyRefused(
            f"TO has rows already ({', '.join(used)}), and they are not from an interrupted copy: name an empty"
            f" database. If nobody needs these rows, {_begin_anew(url)}"
        )


async def _mark(target: Database, url: str) -> None:
    """Mark the target as an unfinished copy. Raise CopyRefused, SchemaOutdated."""
    async with target.transaction() as session:
        connection = await session.connection()
        await connection.run_sync(_check_target, url)
        found = await connection.run_sync(migrations.revision)
        if found != migrations.copying():
            migrations.require(found)
            await session.execute(_set_revision(migrations.copying()))


@asynccontextmanager
async def _unfinished(target: Database) -> AsyncIterator[AsyncSession]:
    """Begin a transaction. Raise CopyRefused if another process has removed the mark: the rows may be in use."""
    async with target.transaction() as session:
        lock = "" if _is_sqlite(await session.connection()) else " FOR UPDATE"
        found = await session.scalar(text(f"SELECT version_num FROM {_VERSION}{lock}"))  # noqa: S608  constants
        if found != migrations.copying():
            raise CopyRefused("another process has finished this copy")
        yield session


@asynccontextmanager
async def _held_still(source: Database) -> AsyncIterator[None]:
    """Let nobody write to the source during the block. On SQLite, the beginning of a transaction takes the lock."""
    async with source.transaction() as session:
        if not _is_sqlite(await session.connection()):
            names = ", ".join(table.name for table in TABLES)
            await session.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))
        yield


def _set_revision(revision: str | None) -> Any:
    return text(f"UPDATE {_VERSION} SET version_num = :revision").bindparams(revision=revision)  # noqa: S608  a constant


async def _copy_rows(table: Table, source: Database, target: Database, advance: Advance) -> None:
    """Copy the rows with larger ids than the target has."""
    async for part in _parts(table, source, after=await _last_id(table, target)):
        rows = [dict(row._mapping) for row in part]  # noqa: SLF001  its public API
        try:
            async with _unfinished(target) as session:
                await session.execute(insert(table), rows)
        except StatementError:
            await _insert_singly(table, rows, target)
        advance(len(rows))


async def _insert_singly(table: Table, rows: list[dict[str, Any]], target: Database) -> None:
    """Copy all the rows or none. Raise CopyRefused for the first one that the target refuses."""
    async with _unfinished(target) as session:
        for row in rows:
            try:
                await session.execute(insert(table), row)
            except StatementError as error:
                hint = ""
                if isinstance(error, IntegrityError):
                    hint = f"; if FROM or TO has changed since the first run, {_begin_anew(target.engine.url)}"
                raise CopyRefused(
                    f"TO refuses the row of {table.name} with the id {row['id']} ({_reason(row, error)}): correct it in"
                    f" FROM, and run the same command again{hint}"
                ) from None


def _reason(row: dict[str, Any], error: StatementError) -> str:
    """Return why a database refuses a row, without any of its values."""
    if any(isinstance(value, str) and "\0" in value for value in row.values()):
        return "a text with a NUL character"
    return str(getattr(error, "driver_exception", error)).splitlines()[0]


async def _compare(table: Table, source: Database, target: Database, advance: Advance) -> Sum:
    """Return the sum of both sides. Raise CopyRefused if they differ."""
    wanted, found = await _sum(table, source, advance), await _sum(table, target, advance)
    if wanted != found:
        raise CopyRefused(
            f"{table.name} has {wanted.rows:,} rows in FROM and {found.rows:,} in TO, or other values: one of"
            f" them has changed since the first run. Stop the site and {_begin_anew(target.engine.url)}"
        )
    return found


async def _sum(table: Table, database: Database, advance: Advance) -> Sum:
    rows, checksum = 0, hashlib.sha256()
    async for part in _parts(table, database):
        rows += len(part)
        for row in part:
            checksum.update(repr([_plain(value) for value in row]).encode("utf-8", "surrogatepass"))
        advance(len(part))
    return Sum(rows, checksum.hexdigest())


async def _parts(table: Table, database: Database, *, after: int | None = None) -> AsyncIterator[list[Any]]:
    """Yield the rows with larger ids than `after`, in parts."""
    while True:
        wanted = select(table).order_by(table.c.id).limit(PART)
        if after is not None:
            wanted = wanted.where(table.c.id > after)
        try:
            part = await _rows(wanted, database)
        except (StatementError, ValueError):
            await _name_unreadable_row(table, wanted.with_only_columns(table.c.id), database)
            raise
        if not part:
            return
        yield part
        after = part[-1].id


async def _rows(query: Select[Any], database: Database) -> list[Any]:
    async with database.reading() as connection:
        return list(await connection.execute(query))


async def _name_unreadable_row(table: Table, ids: Select[Any], database: Database) -> None:
    """Raise CopyRefused for the first row that has a value of the wrong kind, such as a text that is not UTF-8."""
    for row in await _rows(ids, database):
        try:
            await _rows(select(table).where(table.c.id == row.id), database)
        except (StatementError, ValueError):
            raise CopyRefused(
                f"the row of {table.name} with the id {row.id} cannot be read, for example because a text is not"
                " UTF-8: correct it, and run the same command again"
            ) from None


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
    """Return the largest id that the table has or ever gave, 0 for none.

    The id of a deleted account is not given again, and rows may have been loaded with their ids.
    """
    async with source.reading() as connection:
        if _is_sqlite(connection):
            statement = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        else:
            statement = text("SELECT pg_sequence_last_value(pg_get_serial_sequence(:name, 'id')::regclass)")
        given: int | None = await connection.scalar(statement, {"name": table.name})
    return max(given or 0, await _last_id(table, source) or 0)


async def _continue_after(name: str, number: int, session: AsyncSession) -> None:
    """Let the next row of a table get a larger id than `number`, and than every id before."""
    if number == 0:
        return
    values = {"name": name, "number": number}
    if not _is_sqlite(await session.connection()):
        sequence = "pg_get_serial_sequence(:name, 'id')::regclass"
        last = f"greatest(:number, pg_sequence_last_value({sequence}))"
        await session.execute(text(f"SELECT setval({sequence}, {last})"), values)
        return
    # Without rows the table has no entry yet, and no unique index forbids a second one.
    here = "FROM sqlite_sequence WHERE name = :name"
    new = f"INSERT INTO sqlite_sequence (name, seq) SELECT :name, 0 WHERE NOT EXISTS (SELECT 1 {here})"
    await session.execute(text(new), values)
    await session.execute(text("UPDATE sqlite_sequence SET seq = max(seq, :number) WHERE name = :name"), values)


def _has_rows(table: Table, connection: Connection) -> bool:
    return connection.scalar(select(literal(1)).select_from(table).limit(1)) is not None


def _identity(connection: Connection) -> object:
    """Return what differs between two databases, however their URLs spell host, path or user."""
    if _is_sqlite(connection):
        file = Path(connection.scalar(text("SELECT file FROM pragma_database_list WHERE name = 'main'"))).stat()
        return file.st_dev, file.st_ino
    # No two servers start in the same microsecond.
    return tuple(connection.execute(text("SELECT current_database(), pg_postmaster_start_time()")).one())


def _is_sqlite(connection: Connection | AsyncConnection) -> bool:
    return connection.dialect.name == "sqlite"


def _begin_anew(url: str | URL) -> str:
    """Return how to empty the database and copy again, as a part of a sentence."""
    file, parsed = migrations.sqlite_file(str(url)), make_url(url)
    if file is not None:
        remove = f"remove {file}, and {file.name}-wal and {file.name}-shm if they exist"
    else:
        name, owner = shlex.quote(parsed.database or "NAME"), shlex.quote(parsed.username or "USER")
        remove = f"run `dropdb {name} && createdb -O {owner} {name}`"
    return f"begin anew: {remove}, then run the same command again. The site must not run before the copy is complete"


async def _look(url: str, ask: Callable[[Connection], T]) -> T:
    """Ask a database something, and change nothing in it. Raise DatabaseUnavailable."""
    file = migrations.sqlite_file(url)
    if file is None:
        async with _opened(url) as database, database.reading() as connection:
            return await connection.run_sync(ask)
    # Not a Database, which would turn WAL on in a file that may belong to another program. The mode creates no file;
    # "ro" would leave a -wal and a -shm file behind.
    address = URL.create("sqlite", database=file.absolute().as_uri(), query={"mode": "rw", "uri": "true"})
    engine = create_engine(address, hide_parameters=True)
    try:
        with engine.connect() as connection:
            return ask(connection)
    except SQLAlchemyError as error:
        raise DatabaseUnavailable("the database does not answer") from error
    finally:
        engine.dispose()


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()
