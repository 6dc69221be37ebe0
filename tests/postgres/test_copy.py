"""A site moves from SQLite to PostgreSQL and back, and goes on where it was."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from quartblog import database_copy
from quartblog.auth import service
from quartblog.database import Database
from quartblog.errors.exceptions import CopyRefused
from quartblog.models import Post, User
from tests.support.rows import rows

if TYPE_CHECKING:
    from pathlib import Path


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

    with pytest.raises(CopyRefused, match="other rows in users"):
        await database_copy.copy(sqlite_url, database_url, ignore)

    assert len((await rows(database_url))[User.__tablename__]) == 1
