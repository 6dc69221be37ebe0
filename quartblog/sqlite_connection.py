"""A statement on SQLite -> one call in the connection's thread -> all its rows.

aiosqlite makes separate thread calls for the cursor, the statement, its rows and the cursor's close, and SQLAlchemy one
more to roll back a transaction that never began. Every call waits for the event loop, which is slow in an error storm.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Answer(list[Any]):
    """All rows of a statement, with the attributes of its cursor."""

    def __init__(self, cursor: sqlite3.Cursor, rows: list[Any]) -> None:
        super().__init__(rows)
        self.description = cursor.description
        self.rowcount = cursor.rowcount
        self.lastrowid = cursor.lastrowid


class _Cursor(sqlite3.Cursor):
    def fetchall(self) -> _Answer:
        return _Answer(self, super().fetchall())


class _Connection(sqlite3.Connection):
    """Closes when garbage-collected: aiosqlite drops the new connection of a cancelled request without closing it.

    From Python 3.13 on, the standard class would emit a ResourceWarning.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        return self.cursor(_Cursor).execute(sql, parameters)

    def __del__(self) -> None:
        # A connection that failed to open cannot be closed.
        with suppress(sqlite3.ProgrammingError):
            self.close()


class Cursor:
    """The part of aiosqlite's cursor that SQLAlchemy uses, with all rows fetched at once."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        """Start without a result."""
        self._connection = connection
        self._answer: Any = None

    async def __aenter__(self) -> Self:
        """Return the cursor, as aiosqlite's does."""
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> Self:
        """Run a statement and fetch all its rows."""
        self._answer = await self._connection.ask(self._connection.execute_fetchall(sql, parameters))
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        """Run a statement that returns no rows, once for each set of parameters."""
        self._answer = await self._connection.ask(self._connection.executemany(sql, parameters))
        return self

    async def fetchall(self) -> Iterable[Any]:
        """Return all rows of the statement."""
        rows: Iterable[Any] = self._answer
        return rows

    async def close(self) -> None:
        """Do nothing: the cursor is closed already."""

    @property
    def description(self) -> Any:
        """The columns' descriptions, None for a statement without rows."""
        return self._answer.description

    @property
    def rowcount(self) -> int:
        """The number of changed rows."""
        return int(self._answer.rowcount)

    @property
    def lastrowid(self) -> int | None:
        """The id of the row inserted last."""
        found: int | None = self._answer.lastrowid
        return found


class Connection(aiosqlite.Connection):
    """aiosqlite's connection with fewer calls to its thread."""

    _unanswered = False
    _stopped = False

    async def ask(self, trip: Any) -> Any:
        """Wait for a statement, and remember if a cancellation left it running."""
        self._unanswered = True
        answer = await trip
        self._unanswered = False
        return answer

    def cursor(self) -> Cursor:  # type: ignore[override]  # it needs no call in the thread
        """Return a new cursor."""
        return Cursor(self)

    async def rollback(self) -> None:
        """Roll back if a transaction is open, or if an abandoned statement may have opened one."""
        if self._unanswered or self.in_transaction:
            await super().rollback()
            self._unanswered = False

    def stop(self) -> asyncio.Future[Any] | None:
        """End the thread, once. Nobody would answer a second stop, which SQLAlchemy's close then waits for.

        SQLAlchemy closes the connection of a cancelled statement, and stops it as well when the close is cancelled.
        """
        if self._stopped:
            return None
        self._stopped = True
        return super().stop()


def connect(database: str, **options: Any) -> Connection:
    """Connect like aiosqlite.connect, with a daemon thread that does not keep the process alive."""
    connection = Connection(partial(sqlite3.connect, database, factory=_Connection, **options), iter_chunk_size=64)
    connection._thread.daemon = True  # noqa: SLF001  SQLAlchemy does the same
    return connection
