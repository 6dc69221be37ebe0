"""Request -> transaction() or reading() -> session or connection -> commit or rollback, always closed.

`transaction()` gives a session, and commits at the end of its block, or rolls back and re-raises. `reading()` gives a
connection for pages that only read, which need rows: objects take five times as long. It refuses the statements that
change rows by mistake. Both close what they gave before the code after them runs, so no error page can meet a broken
session. When the database does not answer,
they raise DatabaseUnavailable. A violated constraint stays an IntegrityError, and `violated_constraint()` names the
constraint.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn

from quart import current_app
from sqlalchemy import Connection, DateTime, Dialect, MetaData, TypeDecorator, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

from quartblog import sqlite_connection
from quartblog.database_errors import hide_values, is_passing
from quartblog.errors.exceptions import DatabaseUnavailable, WriteRefused

EXTENSION = "quartblog.database"

# How SQL begins that reads. Migrations read SQLite's schema by PRAGMA; most other pragmas change the connection, which
# a writer uses next.
_READS = re.compile(r"\s*(SELECT|WITH|PRAGMA\s+(\w+\.)?(table|index|foreign_key)_\w+)\b", re.IGNORECASE)
# What may follow WITH, and then changes rows.
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|REPLACE)\b", re.IGNORECASE)

# In the info of a pooled connection: the device and inode of its file.
_FILE = "quartblog.file"

# Seconds SQLite waits for another writer before it fails with "database is locked".
BUSY_TIMEOUT = 5.0


class Base(DeclarativeBase):
    """The base of all tables. Every constraint has the same name on every database, for `violated_constraint`."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, in Python and in the database; SQLite itself stores no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """One engine, with sessions that write and connections that read."""

    def __init__(
        self, url: str, *, pool_size: int = 5, pool_timeout: float = 2.0, statement_timeout: float | None = None
    ) -> None:
        """Build the engine without connecting.

        `pool_timeout`: seconds to wait for a free connection, and as long again for the server to accept it.
        `statement_timeout`: seconds to wait for the answer to a statement, because a server may vanish without closing
        its connections. For a SQLite file, `busy_timeout` applies instead of both.
        """
        self.busy_timeout = BUSY_TIMEOUT
        """Seconds that a statement waits for another program's lock on a SQLite file. New connections use it."""
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        name = make_url(url).database or ""
        # A database in memory has no file, and a URI may name anything.
        self._file = name if is_sqlite and not name.startswith((":memory:", "file:")) else ""
        self._was_there = False
        self._patience = None if is_sqlite else 2 * pool_timeout
        self.engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout,
            pool_pre_ping=not is_sqlite,
            connect_args={"async_creator_fn": sqlite_connection.connect}
            if is_sqlite
            else {"command_timeout": statement_timeout},
            hide_parameters=True,
            # Readers and the pool's ping need no transaction; the ping would begin one and roll it back per request.
            isolation_level=None if is_sqlite else "AUTOCOMMIT",
        )
        event.listen(self.engine.sync_engine, "handle_error", hide_values)
        event.listen(self.engine.sync_engine, "handle_error", _give_up_connection)
        if is_sqlite:
            event.listen(self.engine.sync_engine, "connect", self._configure_sqlite)
        if self._file:
            event.listen(self.engine.sync_engine, "do_connect", self._refuse_to_create_again)
            event.listen(self.engine.sync_engine, "connect", self._remember_file)
            event.listen(self.engine.sync_engine, "checkout", self._give_up_moved_file)
        event.listen(self.engine.sync_engine, "before_cursor_execute", _refuse_to_write)
        self.writer = _writer(self.engine)
        # Objects stay loaded after the commit, because templates cannot await a reload.
        self._writing = async_sessionmaker(self.writer, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Commit at the end of the block; roll back on any exception and re-raise it."""
        async with self._writing() as session, self._answering(session.connection):
            yield session
            await session.commit()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for pages that only read; each statement sees all data committed before it."""
        connection = self.engine.connect()
        async with self._answering(connection.start):
            try:
                yield connection
            finally:
                await connection.close()

    async def close(self) -> None:
        """Close every connection; the next session opens a new one."""
        await self.engine.dispose()

    @asynccontextmanager
    async def _answering(self, connect: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """Connect, and run the block. Raise DatabaseUnavailable when the database does not answer."""
        try:
            # A frozen server accepts connections and never answers; the pool's ping has no timeout.
            async with asyncio.timeout(self._patience):
                await connect()
        except Exception as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # asyncpg turns a cancellation into "connection was closed in the middle of operation".
                raise asyncio.CancelledError from error
            # Drivers raise their own errors before SQLAlchemy can wrap them.
            _unavailable(error)
        try:
            yield
        except DBAPIError as error:
            if is_passing(error):
                _unavailable(error)
            raise

    def _configure_sqlite(self, connection: Any, _record: object) -> None:
        # The driver begins too late and without a mode. This turns its BEGIN off; `_begin_sqlite` sends ours.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", f"busy_timeout={self.busy_timeout * 1_000:.0f}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    # An open connection follows a file that was moved or removed, and what it writes would be lost with that file.

    def _remember_file(self, _connection: object, record: ConnectionPoolEntry) -> None:
        record.info[_FILE], self._was_there = self._identity(), True

    def _give_up_moved_file(self, _connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info[_FILE] != self._identity():
            raise DisconnectionError

    def _refuse_to_create_again(self, *_: object) -> None:
        # SQLite would create an empty file, and delete the journal with what the missing one does not have yet.
        if self._was_there:
            self._identity()

    def _identity(self) -> tuple[int, int]:
        """Return which file has the database's name. Raise OSError if none has."""
        found = os.stat(self._file)  # noqa: PTH116  for every request, and half the price of pathlib's
        return found.st_dev, found.st_ino


def database() -> Database:
    """Return the current app's database."""
    found: Database = current_app.extensions[EXTENSION]
    return found


def transaction() -> AbstractAsyncContextManager[AsyncSession]:
    """`Database.transaction()` of the current app."""
    return database().transaction()


def reading() -> AbstractAsyncContextManager[AsyncConnection]:
    """`Database.reading()` of the current app."""
    return database().reading()


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the constraint or unique index that refused a row; None if the database does not report it.

    PostgreSQL reports the name. SQLite names a CHECK, gives only the columns of a unique index
    ("UNIQUE constraint failed: users.email"), and does not identify a foreign key.
    """
    if name := getattr(error.driver_exception, "constraint_name", None):
        return str(name)
    kind, _, subject = str(error.orig).partition(" constraint failed: ")
    if kind == "CHECK":
        return subject
    if kind == "UNIQUE":
        return _unique_over(subject.split(", "))
    return None


def _unique_over(columns: list[str]) -> str | None:
    for table in Base.metadata.tables.values():
        for index in table.indexes:
            if index.unique and [f"{table.name}.{column.name}" for column in index.columns] == columns:
                return index.name
    return None


def _writer(engine: AsyncEngine) -> AsyncEngine:
    """Return a view of the engine for writers. The engine itself is for readers, which begin no transaction."""
    if engine.dialect.name != "sqlite":
        return engine.execution_options(writes=True, isolation_level="READ COMMITTED")
    # Read-then-write under a plain BEGIN fails at once when two writers meet; IMMEDIATE makes them queue.
    writer = engine.execution_options(writes=True)
    event.listen(writer.sync_engine, "begin", _begin_sqlite)
    return writer


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _give_up_connection(context: ExceptionContext) -> None:
    """After a statement without an answer: close the connection, and raise DatabaseUnavailable."""
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
        _unavailable(context.original_exception)


def _refuse_to_write(connection: Connection, _cursor: object, statement: str, *_others: object) -> None:
    # Without a transaction each statement commits at once, so a failure could leave half of a change.
    if "writes" not in connection.get_execution_options() and not _only_reads(statement):
        raise WriteRefused("reading() never writes: use transaction()")


@lru_cache(maxsize=256)
def _only_reads(statement: str) -> bool:
    begins = _READS.match(statement)
    return begins is not None and not (begins[1].upper() == "WITH" and _WRITES.search(statement))


def _unavailable(error: Exception) -> NoReturn:
    raise DatabaseUnavailable("the database does not answer") from error
