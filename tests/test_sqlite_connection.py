"""The connection to SQLite: few trips to its thread, and nothing left behind by who stops waiting."""

import asyncio
import contextlib
import gc
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import text

from quartblog import sqlite_connection
from quartblog.database import Database
from quartblog.models import User
from quartblog.sqlite_connection import Connection
from tests.support.browsing import Visitor


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of any connection's thread."""
    made: list[str] = []
    execute: Any = aiosqlite.Connection._execute

    async def noting(connection: aiosqlite.Connection, work: Any, *arguments: Any, **options: Any) -> Any:
        made.append(work.__name__)
        return await execute(connection, work, *arguments, **options)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", noting)
    return made


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[Connection]:
    opened = sqlite_connection.connect(str(tmp_path / "some.sqlite3"), isolation_level=None, check_same_thread=False)
    async with opened:
        await opened.execute_fetchall("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
        yield opened


async def test_a_statement_of_a_page_is_one_trip(database: Database, trips: list[str]) -> None:
    async with database.reading() as session:
        await session.scalar(text("SELECT 1"))
    trips.clear()

    async with database.reading() as session:
        await session.scalar(text("SELECT 1"))

    assert len(trips) == 1


async def test_a_page_for_whoever_is_not_signed_in_is_one_trip_and_takes_no_other_thread(
    visitor: Visitor, ada: User, trips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await visitor.get("/")).status == 200
    trips.clear()

    with monkeypatch.context() as patched:
        patched.delattr(asyncio.BaseEventLoop, "run_in_executor")
        assert (await visitor.get("/")).status == 200

    assert len(trips) == 1


async def test_a_write_tells_how_many_rows_it_changed(connection: Connection) -> None:
    cursor = connection.cursor()
    await cursor.executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,), (5,)])
    assert (cursor.rowcount, cursor.description) == (3, None)
    await cursor.execute("INSERT INTO numbers DEFAULT VALUES RETURNING number")
    assert (cursor.lastrowid, await cursor.fetchall()) == (6, [(6,)])
    await cursor.execute("DELETE FROM numbers WHERE number > ?", (1,))
    assert cursor.rowcount == 3


def test_one_that_is_dropped_closes_itself_without_a_warning(tmp_path: Path) -> None:
    """As the new connection of a request that was cancelled; Python 3.13 warns of an open one."""
    dropped: sqlite3.Connection | None = sqlite3.connect(
        tmp_path / "some.sqlite3", factory=sqlite_connection._Connection
    )
    assert dropped is not None
    dropped = None
    gc.collect()


async def test_its_thread_does_not_keep_the_process_from_ending(connection: Connection) -> None:
    assert connection._thread.daemon


async def test_nothing_is_rolled_back_where_nothing_was_begun(connection: Connection, trips: list[str]) -> None:
    await connection.cursor().execute("INSERT INTO numbers VALUES (1)")
    trips.clear()

    await connection.rollback()

    assert trips == []


async def test_a_transaction_begun_after_its_request_was_cancelled_is_rolled_back(
    connection: Connection, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "some.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begin = asyncio.create_task(connection.cursor().execute("BEGIN IMMEDIATE"))
        await asyncio.sleep(0)
        begin.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begin
        assert not connection.in_transaction
        other.execute("ROLLBACK")

        await connection.rollback()

        # Behind whatever its thread still has to do.
        await connection.execute_fetchall("SELECT 1")
        assert not connection.in_transaction
