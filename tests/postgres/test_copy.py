"""A site moves from SQLite to PostgreSQL and back, and goes on where it was."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url, text

from quartblog import database_copy
from quartblog.auth import service
from quartblog.database import Database
from quartblog.errors.exceptions import CopyRefused
from quartblog.models import Post, User
from tests.support.rows import rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres import Cluster


pytestmark = pytest.mark.postgres


def ignore(_done: int, _total: int) -> None:
    """Show no progress."""


@pytest.fixture
async def sqlite_url(tmp_path: Path, empty_database: Path) -> str:
    """A site on SQLite with an account, posts, a login, and an account that was deleted."""
    shutil.copy(empty_database, tmp_path / "site.sqlite3")
    url = f"sqlite+aiosqlite:///{tmp_path / 'site.sqlite3'}"
    database = Database(url)
    async with database.transaction() as session:
        ada = await service.register(session, "李清照", "ada@example.com", "a hash")
        session.add_all(
            Post(author_id=ada.id, body=f"post {number} 🙂", created_at=ada.created_at) for number in range(99)
        )
        gone = await service.register(session, "gone", "gone@example.com", "a hash")
        await session.delete(gone)
    await database.close()
    return url


async def interrupted_copy(source_url: str, target_url: str) -> None:
    """Copy some of the rows."""

    def interrupt(done: int, _total: int) -> None:
        if done > 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await database_copy.copy(source_url, target_url, interrupt)


async def change(url: str, statement: str) -> None:
    """Run a statement."""
    database = Database(url)
    async with database.transaction() as session:
        await session.execute(text(statement))
    await database.close()


async def next_id(url: str) -> int:
    """The id of a new account."""
    database = Database(url)
    async with database.transaction() as session:
        account = await service.register(session, "next", "next@example.com", "a hash")
    await database.close()
    return account.id


async def test_a_site_moves_to_postgresql_and_back(
    sqlite_url: str, database_url: str, tmp_path: Path, empty_database: Path
) -> None:
    there = await database_copy.copy(sqlite_url, database_url, ignore)
    shutil.copy(empty_database, tmp_path / "back.sqlite3")
    back_url = f"sqlite+aiosqlite:///{tmp_path / 'back.sqlite3'}"
    back = await database_copy.copy(database_url, back_url, ignore)

    assert there == back
    assert await rows(sqlite_url) == await rows(database_url) == await rows(back_url)
    assert [await next_id(url) for url in (sqlite_url, database_url, back_url)] == [3, 3, 3]


async def test_what_postgresql_has_already_is_kept(sqlite_url: str, database_url: str) -> None:
    await next_id(database_url)

    with pytest.raises(CopyRefused, match=r"TO has rows already .* `dropdb \w+ && createdb -O blog \w+`"):
        await database_copy.check(sqlite_url, database_url)
    with pytest.raises(CopyRefused, match="TO has rows already"):
        await database_copy.copy(sqlite_url, database_url, ignore)

    assert len((await rows(database_url))[User.__tablename__]) == 1


async def test_an_interrupted_copy_is_no_site_and_goes_on(sqlite_url: str, database_url: str) -> None:
    await interrupted_copy(sqlite_url, database_url)

    with pytest.raises(CopyRefused, match="FROM cannot be copied: the database is an unfinished copy"):
        await database_copy.check(database_url, sqlite_url)
    await database_copy.check(sqlite_url, database_url)
    await database_copy.copy(sqlite_url, database_url, ignore)

    assert await rows(database_url) == await rows(sqlite_url)
    assert await next_id(database_url) == 3


async def test_a_copy_never_lowers_a_sequence(
    sqlite_url: str, database_url: str, database_name: str, cluster: Cluster
) -> None:
    await interrupted_copy(sqlite_url, database_url)
    cluster.sql("SELECT setval('users_id_seq', 50)", database_name)

    await database_copy.copy(sqlite_url, database_url, ignore)

    assert await next_id(database_url) == 51


async def test_rows_that_were_loaded_with_their_ids_count_for_the_next_one(sqlite_url: str, database_url: str) -> None:
    await change(sqlite_url, "DELETE FROM sqlite_sequence")

    await database_copy.copy(sqlite_url, database_url, ignore)

    assert await next_id(database_url) == 2


async def test_a_text_that_postgresql_cannot_store_is_named(sqlite_url: str, database_url: str) -> None:
    await change(sqlite_url, "UPDATE posts SET body = CAST(x'410042' AS TEXT) WHERE id = 50")

    with pytest.raises(
        CopyRefused, match=r"TO refuses the row of posts with the id 50 \(a text with a NUL character\)"
    ):
        await database_copy.copy(sqlite_url, database_url, ignore)

    await change(sqlite_url, "UPDATE posts SET body = 'corrected' WHERE id = 50")
    await database_copy.copy(sqlite_url, database_url, ignore)
    assert await rows(database_url) == await rows(sqlite_url)


async def test_a_text_that_is_too_long_for_postgresql_is_named(sqlite_url: str, database_url: str) -> None:
    await change(sqlite_url, "UPDATE users SET username = '" + 65 * "x" + "'")

    with pytest.raises(
        CopyRefused, match=r"of users with the id 1 \(value too long for type character varying\(64\)\)"
    ):
        await database_copy.copy(sqlite_url, database_url, ignore)


async def test_a_database_of_another_program_is_refused(sqlite_url: str, cluster: Cluster, database_name: str) -> None:
    url = cluster.create(database_name)
    cluster.sql("CREATE TABLE theirs (id integer)", database_name)

    with pytest.raises(CopyRefused, match=r"tables of another program \(theirs\)"):
        await database_copy.check(sqlite_url, url)

    assert cluster.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database_name) == "theirs"


async def test_one_database_under_two_urls_is_found(database_url: str) -> None:
    host = make_url(database_url).query["host"]
    other = f"{database_url.partition('?')[0]}?port=5432&host={host}%2F"

    with pytest.raises(CopyRefused, match="FROM and TO are the same database"):
        await database_copy.check(database_url, other)
