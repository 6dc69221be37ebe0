"""When somebody was here last is noted, and no page fails for it or waits for it."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from quart import Quart
from sqlalchemy import select, update

from quartblog.auth import last_seen as noting
from quartblog.auth import service
from quartblog.database import Database
from quartblog.models import User
from tests.support.browsing import Serve, SignIn, Visitor
from tests.support.log_file import LogFile

LONG_AGO = timedelta(hours=1)


@contextmanager
def somebody_writing(folder: Path) -> Iterator[None]:
    """Another program that holds the lock of the database."""
    other = sqlite3.connect(folder / "quartblog.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


async def see(database: Database, user: User, ago: timedelta) -> datetime:
    """Let somebody have been here last so long ago."""
    moment = datetime.now(UTC) - ago
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == user.id).values(last_seen=moment))
    return moment


async def last_seen(database: Database, user: User) -> datetime:
    async with database.transaction() as session:
        return (await session.scalars(select(User.last_seen).where(User.id == user.id))).one()


async def test_last_seen_is_written_when_it_has_become_old(ada: User, sign_in: SignIn, database: Database) -> None:
    visitor = await sign_in(ada)
    before = await see(database, ada, noting.EVERY + timedelta(seconds=1))

    await visitor.get("/")

    assert await last_seen(database, ada) > before


async def test_last_seen_is_not_written_with_every_page(
    ada: User, sign_in: SignIn, database: Database, statements: list[str]
) -> None:
    visitor = await sign_in(ada)
    before = await see(database, ada, noting.EVERY - timedelta(minutes=1))
    statements.clear()

    await visitor.get("/")

    assert not [statement for statement in statements if statement.startswith(("UPDATE", "BEGIN"))]
    assert await last_seen(database, ada) == before


async def test_signing_in_counts_as_being_seen(ada: User, sign_in: SignIn, database: Database) -> None:
    before = await see(database, ada, timedelta(days=1))

    await sign_in(ada)

    assert await last_seen(database, ada) > before


@pytest.mark.sqlite
async def test_what_could_not_be_noted_is_a_warning(
    *,
    ada: User,
    sign_in: SignIn,
    database: Database,
    tmp_path: Path,
    log: LogFile,
) -> None:
    visitor = await sign_in(ada)
    before = await see(database, ada, LONG_AGO)
    await database.close()
    database.busy_timeout = 0.001

    with somebody_writing(tmp_path):
        page = await visitor.get("/")

    assert page.status == 200
    assert "你好，ada！" in page.text
    assert await last_seen(database, ada) == before
    assert log.failures == []
    assert "Could not save when user" in log.text


@pytest.mark.sqlite
async def test_no_page_waits_for_another_program_that_writes(
    *, app: Quart, ada: User, sign_in: SignIn, database: Database, tmp_path: Path, log: LogFile
) -> None:
    visitor = await sign_in(ada)
    before = await see(database, ada, LONG_AGO)

    with somebody_writing(tmp_path):
        page, again = await visitor.get("/"), await visitor.get("/")
        waiting = len(app.background_tasks)
    await asyncio.gather(*app.background_tasks)

    assert [page.status, again.status] == [200, 200]
    assert "你好，ada！" in page.text
    assert waiting == 1, "the page came only after the lock was given, or each page waits for it"
    assert log.failures == []
    assert await last_seen(database, ada) > before


@pytest.mark.sqlite
@pytest.mark.parametrize(("rest", "written"), [(noting.REST, False), (0.0, True)])
async def test_after_an_attempt_that_took_long_there_is_a_rest(
    *,
    app: Quart,
    ada: User,
    sign_in: SignIn,
    database: Database,
    tmp_path: Path,
    rest: float,
    written: bool,
) -> None:
    app.extensions[noting.EXTENSION] = noting.LastSeen(rest=rest)
    visitor = await sign_in(ada)
    await see(database, ada, LONG_AGO)
    with somebody_writing(tmp_path):
        await visitor.get("/")
    await asyncio.gather(*app.background_tasks)
    before = await see(database, ada, LONG_AGO)

    await visitor.get("/")

    assert (await last_seen(database, ada) > before) is written


@pytest.mark.sqlite
async def test_a_database_that_cannot_be_written_can_still_be_read(
    ada: User, sign_in: SignIn, database: Database, serve: Serve, tmp_path: Path
) -> None:
    visitor = await sign_in(ada)
    await see(database, ada, LONG_AGO)
    url = f"sqlite+aiosqlite:///file:{tmp_path / 'quartblog.sqlite3'}?mode=ro&uri=true"
    reader = Visitor(await serve(database={"url": url}))
    for cookie in visitor.client.cookie_jar or ():
        reader.set_cookie(cookie.name, cookie.value or "")

    home = await reader.get("/")
    answer = await reader.submit("/", body="hello")

    assert home.status == 200
    assert "你好，ada！" in home.text
    assert answer.status == 503


async def test_a_gone_account_is_noted_for_nobody(database: Database) -> None:
    then = datetime.now(UTC) - LONG_AGO
    nobody = service.SignedIn(4711, "nobody", "", then, is_admin=False, login_id=4711, login_used=then)
    async with database.transaction() as session:
        await service.touch(session, nobody, service.UNKNOWN)
