"""db copy: every row once, whatever interrupts it, and never into somebody else's rows."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, func, insert, select, update

from quartblog import database_copy
from quartblog.auth import service
from quartblog.database import Database
from quartblog.errors.exceptions import CopyRefused, DatabaseUnavailable, SchemaOutdated
from quartblog.models import Login, Post, User
from tests.support.rows import rows

if TYPE_CHECKING:
    from pathlib import Path

POSTS = 2_345


class Cut(Exception):
    """Somebody pressed Ctrl-C."""


def ignore(_done: int, _total: int) -> None:
    """Show no progress."""


@pytest.fixture
def target_url(tmp_path: Path, empty_database: Path) -> str:
    """An empty database to copy into."""
    shutil.copy(empty_database, tmp_path / "target.sqlite3")
    return f"sqlite+aiosqlite:///{tmp_path / 'target.sqlite3'}"


@pytest.fixture
async def source_url(database_url: str) -> str:
    """A site with an account, a deleted account, logins, and more posts than one part."""
    database = Database(database_url)
    async with database.transaction() as session:
        ada = await service.register(session, "李清照", "ada@example.com", "a hash")
        await session.execute(
            insert(Post),
            [
                {
                    "author_id": ada.id,
                    "body": f"post {number} 🙂",
                    "created_at": datetime.now(UTC) - timedelta(seconds=number, microseconds=number),
                }
                for number in range(POSTS)
            ],
        )
        await session.execute(delete(Post).where(Post.id % 7 == 0))
        await service.begin_login(session, service.Secret(ada.id, "a hash"))
        gone = await service.register(session, "gone", "gone@example.com", "a hash")
        await session.delete(gone)
    await database.close()
    return database_url


async def change(url: str, statement: object) -> None:
    """Run a statement."""
    database = Database(url)
    async with database.transaction() as session:
        await session.execute(statement)  # type: ignore[call-overload]
    await database.close()


async def test_every_row_is_copied_with_its_id(source_url: str, target_url: str) -> None:
    seen: list[tuple[int, int]] = []

    sums = await database_copy.copy(source_url, target_url, lambda done, total: seen.append((done, total)))

    copied = await rows(target_url)
    assert copied == await rows(source_url)
    assert {name: found.rows for name, found in sums.items()} == {name: len(found) for name, found in copied.items()}
    total = sum(found.rows for found in sums.values())
    assert (seen[0], seen[-1]) == ((0, total), (total, total))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


async def test_the_next_ids_go_on_where_the_source_would(source_url: str, target_url: str) -> None:
    await database_copy.copy(source_url, target_url, ignore)

    ids = []
    for url in (source_url, target_url):
        database = Database(url)
        async with database.transaction() as session:
            ids.append((await service.register(session, "next", "next@example.com", "a hash")).id)
        await database.close()
    assert ids[0] == ids[1] == 3


@pytest.mark.parametrize("parts", [0, 1, 2, 3])
async def test_an_interrupted_copy_goes_on(source_url: str, target_url: str, parts: int) -> None:
    calls = 0

    def interrupt(_done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls > parts:
            raise Cut

    with pytest.raises(Cut):
        await database_copy.copy(source_url, target_url, interrupt)
    done: list[int] = []
    await database_copy.copy(source_url, target_url, lambda at, _total: done.append(at))

    assert await rows(target_url) == await rows(source_url)
    assert (done[0] > 0) is (parts > 0)


async def test_a_second_copy_changes_nothing(source_url: str, target_url: str) -> None:
    first = await database_copy.copy(source_url, target_url, ignore)

    assert await database_copy.copy(source_url, target_url, ignore) == first


async def test_other_rows_are_never_added_to(source_url: str, target_url: str) -> None:
    database = Database(target_url)
    async with database.transaction() as session:
        await service.register(session, "owner", "owner@example.com", "a hash")
    await database.close()
    before = await rows(target_url)

    with pytest.raises(CopyRefused, match="other rows in users"):
        await database_copy.copy(source_url, target_url, ignore)

    assert await rows(target_url) == before


async def test_a_source_that_changes_meanwhile_is_noticed(source_url: str, target_url: str) -> None:
    await database_copy.copy(source_url, target_url, ignore)
    await change(source_url, update(User).values(about_me="changed"))

    with pytest.raises(CopyRefused, match="other rows in users"):
        await database_copy.copy(source_url, target_url, ignore)


async def test_a_row_deleted_while_it_is_copied_is_noticed(
    source_url: str, target_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_copy, "PART", 100)
    database = Database(source_url)
    statements = 0

    async def delete_one() -> None:
        async with database.transaction() as session:
            await session.execute(delete(Post).where(Post.id == 1))

    copied = database_copy.copy(source_url, target_url, ignore)
    original = database_copy._missing

    async def missing(*arguments: object) -> object:
        nonlocal statements
        async for part in original(*arguments):  # type: ignore[arg-type]
            statements += 1
            if statements == 5:
                await delete_one()
            yield part

    monkeypatch.setattr(database_copy, "_missing", missing)
    with pytest.raises(CopyRefused, match="stop the site"):
        await copied
    await database.close()


async def test_an_empty_site_is_copied(database_url: str, target_url: str) -> None:
    sums = await database_copy.copy(database_url, target_url, ignore)

    assert {found.rows for found in sums.values()} == {0}


async def test_what_cannot_be_copied_is_said(source_url: str, target_url: str, tmp_path: Path) -> None:
    with pytest.raises(CopyRefused, match="the same database"):
        await database_copy.copy(source_url, source_url, ignore)
    with pytest.raises(SchemaOutdated):
        await database_copy.copy(source_url, f"sqlite+aiosqlite:///{tmp_path / 'bare.sqlite3'}", ignore)
    with pytest.raises(DatabaseUnavailable):
        await database_copy.copy(source_url, f"sqlite+aiosqlite:///{tmp_path / 'no' / 'folder'}", ignore)


async def test_logins_stay_valid(source_url: str, target_url: str) -> None:
    database = Database(source_url)
    async with database.transaction() as session:
        token = await service.begin_login(session, service.Secret(1, "a hash"))
    await database.close()

    await database_copy.copy(source_url, target_url, ignore)

    database = Database(target_url)
    async with database.reading() as connection:
        account = await service.by_token(connection, token)
        assert await connection.scalar(select(func.count()).select_from(Login)) == 2
    await database.close()
    assert account is not None
    assert account.username == "李清照"
