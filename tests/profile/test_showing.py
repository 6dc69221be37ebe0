"""A person's page."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from quartblog import database as database_module
from quartblog.auth import service as accounts
from quartblog.auth.visitor import LAST_SEEN_EVERY
from quartblog.database import Database
from quartblog.models import User
from quartblog.posts import service as posts
from tests.support.browsing import Serve, SignIn, Visitor
from tests.support.log_file import LogFile


async def see(database: Database, user: User, ago: timedelta) -> datetime:
    """Let somebody have been here last so long ago."""
    moment = datetime.now(UTC) - ago
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == user.id).values(last_seen=moment))
    return moment


async def last_seen(database: Database, user: User) -> datetime:
    async with database.reading() as session:
        return (await session.scalars(select(User.last_seen).where(User.id == user.id))).one()


@pytest.mark.parametrize("spelling", ["ada", "ADA", "%EF%BC%A1da"])
async def test_a_person_is_found_in_any_spelling(ada: User, visitor: Visitor, spelling: str) -> None:
    page = await visitor.get(f"/user/info/{spelling}")

    assert page.status == 200
    assert "<h1>ada</h1>" in page.text
    assert "最近来访：" in page.text


@pytest.mark.parametrize("name", ["nobody", "..", "a%2Fb", "%00", "%FF", "a%0Ab", "x" * 500])
async def test_nobody_by_that_name_is_a_404(visitor: Visitor, log: LogFile, name: str) -> None:
    page = await visitor.get(f"/user/info/{name}")

    assert page.status == 404
    assert "网页未找到" in page.text
    assert log.failures == []


async def test_only_the_persons_own_posts_are_listed_newest_first(
    ada: User, grace: User, database: Database, visitor: Visitor
) -> None:
    async with database.transaction() as session:
        for author, body in ((ada, "ada's first"), (grace, "grace's"), (ada, "ada's second")):
            await posts.publish(session, author.id, body)

    page = await visitor.get("/user/info/ada")

    assert "grace" not in page.text
    assert page.text.index("ada&#39;s second") < page.text.index("ada&#39;s first")


async def test_older_posts_of_a_person_are_a_page_away(
    ada: User, grace: User, database: Database, visitor: Visitor
) -> None:
    async with database.transaction() as session:
        for number in range(posts.PAGE_SIZE + 1):
            await posts.publish(session, ada.id, f"no. {number}.")
            await posts.publish(session, grace.id, "between")

    first = await visitor.get("/user/info/ada")
    second = await visitor.get(first.link("next"))

    assert "no. 0." not in first.text
    assert "no. 0." in second.text
    assert "between" not in first.text + second.text
    assert second.link("prev").startswith("/user/info/ada?after=")


async def test_only_oneself_is_offered_to_edit(ada: User, grace: User, sign_in: SignIn, visitor: Visitor) -> None:
    own = await sign_in(ada)

    assert 'href="/user/edit"' in (await own.get("/user/info/ada")).text
    assert 'href="/user/edit"' not in (await own.get("/user/info/grace")).text
    assert 'href="/user/edit"' not in (await visitor.get("/user/info/ada")).text


async def test_last_seen_is_written_when_it_has_become_old(ada: User, sign_in: SignIn, database: Database) -> None:
    visitor = await sign_in(ada)
    before = await see(database, ada, LAST_SEEN_EVERY + timedelta(seconds=1))

    await visitor.get("/")

    assert await last_seen(database, ada) > before


async def test_last_seen_is_not_written_with_every_page(
    ada: User, sign_in: SignIn, database: Database, statements: list[str]
) -> None:
    visitor = await sign_in(ada)
    before = await see(database, ada, LAST_SEEN_EVERY - timedelta(minutes=1))
    statements.clear()

    await visitor.get("/")

    assert await last_seen(database, ada) == before
    assert not [statement for statement in statements if statement.startswith(("UPDATE", "BEGIN"))]


async def test_visitors_without_an_account_write_nothing(ada: User, visitor: Visitor, statements: list[str]) -> None:
    await visitor.get("/user/info/ada")

    assert {statement.split()[0] for statement in statements} == {"SELECT"}


async def test_signing_in_counts_as_being_seen(ada: User, sign_in: SignIn, database: Database) -> None:
    before = await see(database, ada, timedelta(days=1))

    await sign_in(ada)

    assert await last_seen(database, ada) > before


async def test_a_page_can_be_read_while_another_program_writes(
    *,
    ada: User,
    sign_in: SignIn,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    log: LogFile,
) -> None:
    visitor = await sign_in(ada)
    before = await see(database, ada, timedelta(hours=1))
    await database.close()
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 1)
    other = sqlite3.connect(tmp_path / "quartblog.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    try:
        page = await visitor.get("/")
    finally:
        other.close()

    assert page.status == 200
    assert "你好，ada！" in page.text
    assert await last_seen(database, ada) == before
    assert log.failures == []
    assert "Could not note when user" in log.text


async def test_a_database_that_cannot_be_written_can_still_be_read(
    ada: User, sign_in: SignIn, database: Database, serve: Serve, tmp_path: Path
) -> None:
    visitor = await sign_in(ada)
    await see(database, ada, timedelta(hours=1))
    url = f"sqlite+aiosqlite:///file:{tmp_path / 'quartblog.sqlite3'}?mode=ro&uri=true"
    reader = Visitor(await serve(database={"url": url}))
    for cookie in visitor.client.cookie_jar or ():
        reader.set_cookie(cookie.name, cookie.value or "")

    home = await reader.get("/")
    answer = await reader.send("POST", "/", form={"csrf_token": home.csrf_token, "body": "hello"})

    assert home.status == 200
    assert "你好，ada！" in home.text
    assert answer.status == 503


async def test_a_gone_account_is_noted_for_nobody(database: Database) -> None:
    async with database.transaction() as session:
        await accounts.touch(session, 4711)
