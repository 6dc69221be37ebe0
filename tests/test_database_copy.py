"""db copy: every row once, whatever interrupts it, and never into somebody else's rows."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, func, insert, select, text, update

from quartblog import database_copy, migrations
from quartblog.auth import service
from quartblog.database import Database
from quartblog.errors.exceptions import CopyRefused, DatabaseUnavailable, SchemaOutdated
from quartblog.models import Login, Post, User
from tests.support.rows import rows

if TYPE_CHECKING:
    from collections.abc import Coroutine
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


async def register(url: str, name: str = "owner") -> int:
    """Add an account, and return its id."""
    database = Database(url)
    async with database.transaction() as session:
        account = await service.register(session, name, f"{name}@example.com", "a hash")
    await database.close()
    return account.id


async def interrupted_copy(source_url: str, target_url: str) -> None:
    """Copy some of the rows."""

    def interrupt(done: int, _total: int) -> None:
        if done > 0:
            raise Cut

    with pytest.raises(Cut):
        await database_copy.copy(source_url, target_url, interrupt)


def files(folder: Path) -> set[str]:
    """The names of all files."""
    return {path.name for path in folder.iterdir()}


def elsewhere(work: Coroutine[Any, Any, object]) -> None:
    """Run in another thread with an event loop of its own, and wait until it ends."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def checked(url: str) -> None:
    """Check the database as a site does at its start."""
    database = Database(url)
    try:
        await migrations.check(database)
    finally:
        await database.close()


async def check_refused(url: str) -> None:
    """Expect that no site starts on the database."""
    with pytest.raises(SchemaOutdated, match="an unfinished copy: run the same `quartblog db copy` again"):
        await checked(url)


async def test_every_row_is_copied_with_its_id(source_url: str, target_url: str) -> None:
    seen: list[tuple[int, int]] = []

    sums = await database_copy.copy(source_url, target_url, lambda done, total: seen.append((done, total)))

    copied = await rows(target_url)
    assert copied == await rows(source_url)
    assert {name: found.rows for name, found in sums.items()} == {name: len(found) for name, found in copied.items()}
    total = sum(found.rows for found in sums.values())
    # Each row is copied, and read on both sides.
    assert (seen[0], seen[-1]) == ((0, 3 * total), (3 * total, 3 * total))
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


async def test_a_finished_copy_that_has_lived_is_left_alone(source_url: str, target_url: str) -> None:
    await database_copy.copy(source_url, target_url, ignore)
    database = Database(target_url)
    async with database.transaction() as session:
        await session.execute(delete(Login))
        await session.execute(delete(Post).where(Post.id == select(func.max(Post.id)).scalar_subquery()))
        await session.delete(await service.register(session, "new", "new@example.com", "a hash"))
    await database.close()
    before = await rows(target_url)

    for begin in (
        database_copy.check(source_url, target_url),
        database_copy.copy(source_url, target_url, ignore),
    ):
        with pytest.raises(CopyRefused, match="TO has rows already"):
            await begin

    assert await rows(target_url) == before
    assert await register(target_url) == 4


async def test_no_site_starts_on_half_a_copy(source_url: str, target_url: str) -> None:
    await interrupted_copy(source_url, target_url)

    await check_refused(target_url)
    with pytest.raises(CopyRefused, match="FROM cannot be copied: the database is an unfinished copy"):
        await database_copy.check(target_url, source_url)

    await database_copy.copy(source_url, target_url, ignore)
    await checked(target_url)


async def test_a_copy_that_changes_meanwhile_stays_unfinished(source_url: str, target_url: str) -> None:
    await interrupted_copy(source_url, target_url)
    await change(source_url, update(User).values(about_me="changed"))

    with pytest.raises(CopyRefused, match="one of them has changed since the first run"):
        await database_copy.copy(source_url, target_url, ignore)

    await check_refused(target_url)


async def test_a_copy_of_another_version_is_left_to_it(source_url: str, target_url: str) -> None:
    await interrupted_copy(source_url, target_url)
    await change(target_url, text("UPDATE alembic_version SET version_num = 'copying 0000'"))

    with pytest.raises(CopyRefused, match=r"another version of quartblog .* begin anew: "):
        await database_copy.check(source_url, target_url)


async def test_a_copy_never_lowers_the_next_id(source_url: str, target_url: str) -> None:
    await interrupted_copy(source_url, target_url)
    database = Database(target_url)
    async with database.transaction() as session:
        for name in ("new", "newer"):
            await session.delete(await service.register(session, name, f"{name}@example.com", "a hash"))
    await database.close()

    await database_copy.copy(source_url, target_url, ignore)

    assert await register(target_url) == 4


async def test_rows_of_another_site_are_kept(source_url: str, target_url: str) -> None:
    await register(target_url)
    before = await rows(target_url)

    with pytest.raises(CopyRefused, match=r"TO has rows already \(users\).* begin anew: "):
        await database_copy.check(source_url, target_url)
    with pytest.raises(CopyRefused, match="TO has rows already"):
        await database_copy.copy(source_url, target_url, ignore)

    assert await rows(target_url) == before
    await checked(target_url)


async def test_another_process_that_finishes_the_copy_stops_this_one(source_url: str, target_url: str) -> None:
    def finish(done: int, _total: int) -> None:
        if done == 0:
            elsewhere(database_copy.copy(source_url, target_url, ignore))
            elsewhere(change(target_url, delete(Post)))

    with pytest.raises(CopyRefused, match="another process has finished this copy"):
        await database_copy.copy(source_url, target_url, finish)

    assert (await rows(target_url))["posts"] == []


@pytest.mark.parametrize("statement", [delete(Post).where(Post.id == 1), update(User).values(about_me="changed")])
async def test_a_source_that_changes_meanwhile_is_noticed(source_url: str, target_url: str, statement: object) -> None:
    calls = 0

    def interfere(_done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            elsewhere(change(source_url, statement))

    with pytest.raises(CopyRefused, match=r"one of them has changed since the first run\. Stop the site"):
        await database_copy.copy(source_url, target_url, interfere)


async def test_nobody_changes_the_source_while_it_is_compared(source_url: str, target_url: str) -> None:
    refused = []

    def interfere(done: int, total: int) -> None:
        if done < total:
            return
        # The last row is compared, and the mark is still there.
        with closing(sqlite3.connect(str(migrations.sqlite_file(source_url)), timeout=0)) as other:
            try:
                other.execute("UPDATE users SET about_me = 'changed'")
            except sqlite3.OperationalError as error:
                refused.append(str(error))

    await database_copy.copy(source_url, target_url, interfere)

    assert refused == ["database is locked"]
    assert await rows(source_url) == await rows(target_url)


async def test_a_row_that_contradicts_an_older_copy_is_named(source_url: str, target_url: str) -> None:
    await interrupted_copy(source_url, target_url)
    await change(source_url, update(User).values(username_key="somebody else"))
    await register(source_url, "李清照")

    with pytest.raises(CopyRefused, match=r"the row of users with the id 3 .* if FROM or TO has changed since"):
        await database_copy.copy(source_url, target_url, ignore)


@pytest.mark.sqlite
@pytest.mark.parametrize("broken", ["body = CAST(x'41ff42' AS TEXT)", "created_at = 'yesterday'"])
async def test_a_row_that_cannot_be_read_is_named(source_url: str, target_url: str, broken: str) -> None:
    before = await rows(source_url)
    await change(source_url, text(f"UPDATE posts SET {broken} WHERE id = 1500"))

    with pytest.raises(CopyRefused, match="the row of posts with the id 1500 cannot be read"):
        await database_copy.copy(source_url, target_url, ignore)

    body, at = next((row[2], row[3]) for row in before["posts"] if row[0] == 1500)
    await change(source_url, update(Post).where(Post.id == 1500).values(body=body, created_at=at))
    await database_copy.copy(source_url, target_url, ignore)
    assert await rows(target_url) == before


@pytest.mark.sqlite
async def test_a_row_whose_author_is_missing_is_named(source_url: str, target_url: str) -> None:
    connection = sqlite3.connect(str(migrations.sqlite_file(source_url)))
    with connection:
        connection.execute("UPDATE posts SET author_id = 77 WHERE id = 1500")
    connection.close()

    with pytest.raises(CopyRefused, match=r"the row of posts with the id 1500 \(FOREIGN KEY constraint failed\)"):
        await database_copy.copy(source_url, target_url, ignore)


async def test_an_empty_site_is_copied(database_url: str, target_url: str) -> None:
    sums = await database_copy.copy(database_url, target_url, ignore)

    assert {found.rows for found in sums.values()} == {0}
    await checked(target_url)


async def test_a_database_of_another_program_is_left_as_it_is(source_url: str, tmp_path: Path) -> None:
    file = tmp_path / "theirs.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE theirs (id INTEGER)")
    connection.close()
    before = file.read_bytes()

    with pytest.raises(CopyRefused, match=r"tables of another program \(theirs\)"):
        await database_copy.check(source_url, f"sqlite+aiosqlite:///{file}")

    assert file.read_bytes() == before


async def test_an_older_site_is_refused_before_it_is_migrated(source_url: str, target_url: str) -> None:
    await register(target_url)
    await change(target_url, text("UPDATE alembic_version SET version_num = '0000'"))

    with pytest.raises(CopyRefused, match="TO has rows already"):
        await database_copy.check(source_url, target_url)


@pytest.mark.sqlite
async def test_one_file_under_two_names_is_one_database(source_url: str, tmp_path: Path) -> None:
    file = migrations.sqlite_file(source_url)
    assert file is not None
    (tmp_path / "link.db").symlink_to(file)
    (tmp_path / "other").mkdir()
    (tmp_path / "hard.db").hardlink_to(file)

    for name in (file.name, "link.db", f"other/../{file.name}", "hard.db"):
        with pytest.raises(CopyRefused, match="FROM and TO are the same database"):
            await database_copy.check(source_url, f"sqlite+aiosqlite:///{tmp_path}/{name}")


async def test_a_check_leaves_no_file_behind(source_url: str, target_url: str, tmp_path: Path) -> None:
    await register(target_url)
    before = files(tmp_path)

    with pytest.raises(CopyRefused):
        await database_copy.check(source_url, target_url)

    assert files(tmp_path) == before


async def test_a_new_target_is_allowed_and_not_made_yet(source_url: str, tmp_path: Path) -> None:
    await database_copy.check(source_url, f"sqlite+aiosqlite:///{tmp_path / 'no' / 'folder.db'}")

    assert not (tmp_path / "no").exists()


async def test_what_cannot_be_copied_is_said(source_url: str, target_url: str, tmp_path: Path) -> None:
    bare, text_file = (f"sqlite+aiosqlite:///{tmp_path / name}" for name in ("bare.sqlite3", "text.txt"))
    (tmp_path / "text.txt").write_text("no database at all, only a text of more than a hundred characters. " * 2)

    with pytest.raises(CopyRefused, match="does not exist"):
        await database_copy.check(bare, target_url)
    with pytest.raises(DatabaseUnavailable):
        await database_copy.check(source_url, text_file)
    await change(bare, select(1))
    with pytest.raises(CopyRefused, match="FROM cannot be copied: the database is at revision none"):
        await database_copy.check(bare, target_url)
    with pytest.raises(SchemaOutdated):
        await database_copy.copy(source_url, bare, ignore)
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
