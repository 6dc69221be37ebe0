"""A statement on SQLite -> one trip to its connection's thread -> all its rows.

aiosqlite makes a trip each for the cursor, the statement, its rows and the cursor's end, and SQLAlchemy one more to
roll back what never began. Every trip waits for a turn of the event loop, and in a storm of errors those come late.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Answer(list[Any]):
    """All rows of a statement, with what else its cursor knows."""

    def __init__(self, cursor: sqlite3.Cursor, rows: list[Any]) -> None:
        super().__init__(rows)
        self.description = cursor.description
        self.rowcount = cursor.rowcount
        self.lastrowid = cursor.lastrowid


class _Cursor(sqlite3.Cursor):
    def fetchall(self) -> _Answer:
        return _Answer(self, super().fetchall())


class _Connection(sqlite3.Connection):
    """Closes when it is dropped, as aiosqlite does with the new connection of a cancelled request.

    The standard one closes then too, but from Python 3.13 on with a ResourceWarning.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        return self.cursor(_Cursor).execute(sql, parameters)

    def __del__(self) -> None:
        # One that could not be opened cannot be closed either.
        with suppress(sqlite3.ProgrammingError):
            self.close()


class Cursor:
    """What SQLAlchemy asks of an aiosqlite cursor whose rows are fetched at once."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        """Nothing was asked yet."""
        self._connection = connection
        self._answer: Any = None

    async def __aenter__(self) -> Self:
        """As aiosqlite's."""
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> Self:
        """Run a statement and take all its rows."""
        self._answer = await self._connection.ask(self._connection.execute_fetchall(sql, parameters))
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        """Run a statement without rows for each of the parameters."""
        self._answer = await self._connection.ask(self._connection.executemany(sql, parameters))
        return self

    async def fetchall(self) -> Iterable[Any]:
        """All rows of the statement."""
        rows: Iterable[Any] = self._answer
        return rows

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def description(self) -> Any:
        """Of the columns, None for a statement that has no rows."""
        return self._answer.description

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""
        return int(self._answer.rowcount)

    @property
    def lastrowid(self) -> int | None:
        """The row that was inserted last."""
        found: int | None = self._answer.lastrowid
        return found


class Connection(aiosqlite.Connection):
    """aiosqlite's, with fewer trips to its thread."""

    _unanswered = False

    async def ask(self, trip: Any) -> Any:
        """Wait for a statement; whoever stops waiting leaves it running."""
        self._unanswered = True
        answer = await trip
        self._unanswered = False
        return answer

    def cursor(self) -> Cursor:  # type: ignore[override]  # it needs no trip
        """One more cursor."""
        return Cursor(self)

    async def rollback(self) -> None:
        """Roll back what was begun, or may have been by a statement that nobody waited for."""
        if self._unanswered or self.in_transaction:
            await super().rollback()
            self._unanswered = False


def connect(database: str, **options: Any) -> Connection:
    """As aiosqlite.connect. The thread does not keep the process from ending, as SQLAlchemy has it."""
    connection = Connection(partial(sqlite3.connect, database, factory=_Connection, **options), iter_chunk_size=64)
    connection._thread.daemon = True  # noqa: SLF001  SQLAlchemy does the same
    return connection
