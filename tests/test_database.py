"""transaction() and reading(): what they promise, on real SQLite files."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import Executable, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from quartblog.auth import service
from quartblog.database import Database, transaction, violated_constraint
from quartblog.errors.exceptions import DatabaseUnavailable, WriteRefused
from quartblog.models import Login, Post, User
from tests.support.moving import moved_away


class Bug(Exception):
    """What nobody expected."""


async def count(database: Database) -> int:
    async with database.reading() as connection:
        return await connection.scalar(select(func.count()).select_from(User)) or 0


def free(database: Database) -> bool:
    """Whether every connection is back in the pool."""
    return database.engine.pool.checkedout() == 0  # type: ignore[attr-defined, no-any-return]


async def test_the_end_of_the_block_commits(database: Database) -> None:
    async with database.transaction() as session:
        await service.register(session, "ada", "ada@example.com", "a hash")
        assert await count(database) == 0

    assert await count(database) == 1
    assert free(database)


@pytest.mark.parametrize("error", [Bug, asyncio.CancelledError, KeyboardInterrupt])
async def test_what_leaves_the_block_rolls_it_back_and_travels_on(
    database: Database, error: type[BaseException]
) -> None:
    async def act() -> None:
        async with database.transaction() as session:
            await service.register(session, "ada", "ada@example.com", "a hash")
            raise error

    with pytest.raises(error):
        await act()

    assert await count(database) == 0
    assert free(database)


async def test_a_failed_flush_leaves_a_database_that_works(ada: User, database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            session.add(Post(author_id=4711, body="x", created_at=datetime.now(UTC)))

    async with database.transaction() as session:
        session.add(Post(author_id=ada.id, body="x", created_at=datetime.now(UTC)))
    assert free(database)


async def test_a_handler_cancelled_while_it_writes_leaks_nothing(ada: User, database: Database) -> None:
    async def write(number: int) -> None:
        async with database.transaction() as session:
            session.add(Post(author_id=ada.id, body=str(number), created_at=datetime.now(UTC)))
            await session.flush()
            await asyncio.Event().wait()

    for number in range(20):
        task = asyncio.create_task(write(number))
        for _ in range(number * number):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert free(database)
    async with database.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(Post)) == 0


@pytest.mark.parametrize(
    "statement",
    [
        update(User).values(about_me="changed"),
        delete(User),
        insert(Post).values(author_id=1, body="x", created_at=datetime.now(UTC)),
        text("UPDATE users SET about_me = 'changed'"),
        text("/* SELECT */ DELETE FROM users"),
        text("WITH them AS (SELECT id FROM users) DELETE FROM users WHERE id IN them"),
        text("DELETE FROM users RETURNING id").columns(User.id),
        select(delete(User).returning(User.id).cte()),
        "DELETE FROM users",
        *map(text, ("REPLACE INTO users (id) VALUES (1)", "DROP TABLE posts", "VACUUM", "PRAGMA foreign_keys = OFF")),
        text("PRAGMA foreign_keys(0)"),
    ],
)
async def test_reading_refuses_to_write(ada: User, database: Database, statement: Executable | str) -> None:
    async with database.reading() as connection:
        sent = connection.exec_driver_sql(statement) if isinstance(statement, str) else connection.execute(statement)
        with pytest.raises(WriteRefused, match="never writes"):
            await sent

    async with database.reading() as connection:
        assert await connection.scalar(select(User.about_me)) == ""
        assert await connection.scalar(select(func.count()).select_from(Post)) == 0


@pytest.mark.parametrize("statement", ["SELECT 1", "select 1", " WITH one AS (SELECT 1) SELECT * FROM one"])
async def test_reading_reads_in_any_spelling(database: Database, statement: str) -> None:
    async with database.reading() as connection:
        assert await connection.scalar(text(statement)) == 1


@pytest.mark.sqlite
async def test_a_reader_cancelled_twice_gives_its_connection_back(ada: User, database: Database) -> None:
    single = Database(database.engine.url.render_as_string(), pool_size=1, pool_timeout=10)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)"
    before, begun = asyncio.all_tasks(), asyncio.Event()

    async def read() -> None:
        async with single.reading() as connection:
            begun.set()
            await connection.execute(text(f"{numbers} SELECT max(i) FROM n"))

    task = asyncio.create_task(read())
    await begun.wait()
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await count(single) == 1
    await single.close()
    # Nothing waits for the connection's thread once that has ended.
    async with asyncio.timeout(30):
        await asyncio.gather(*asyncio.all_tasks() - before, return_exceptions=True)


async def test_reading_sees_what_is_committed_meanwhile(database: Database) -> None:
    async with database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(User)) == 0
        async with database.transaction() as other:
            await service.register(other, "ada", "ada@example.com", "a hash")
        assert await connection.scalar(select(func.count()).select_from(User)) == 1


@pytest.mark.sqlite
@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("foreign_keys", 1), ("busy_timeout", 5000)])
async def test_sqlite_is_set_up(database: Database, pragma: str, value: object) -> None:
    for sessions in (database.transaction, database.reading):
        async with sessions() as session:
            connection = await session.connection() if isinstance(session, AsyncSession) else session
            driver: Any = (await connection.get_raw_connection()).driver_connection
            assert await driver.execute_fetchall(f"PRAGMA {pragma}") == [(value,)]


@pytest.mark.sqlite
async def test_only_writers_begin_and_at_once(database: Database, statements: list[str]) -> None:
    async with database.reading() as connection:
        await connection.scalar(select(User))
    assert [statement for statement in statements if "BEGIN" in statement] == []

    async with database.transaction() as session:
        assert statements[-1] == "BEGIN IMMEDIATE"
        await session.scalar(select(User))


@pytest.mark.sqlite
async def test_200_simultaneous_increments_lose_none(ada: User, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).values(about_me="0"))
    places = asyncio.Semaphore(20)

    async def increment() -> None:
        async with places, database.transaction() as session:
            before = await session.scalar(select(User.about_me))
            await session.execute(update(User).values(about_me=str(int(before or 0) + 1)))

    await asyncio.gather(*(increment() for _ in range(200)))

    async with database.reading() as connection:
        assert await connection.scalar(select(User.about_me)) == "200"


async def provoke(session: AsyncSession, ada: User, rule: str) -> None:
    """Break one rule."""
    now = datetime.now(UTC)
    match rule:
        case "uq_users_username_key":
            await session.execute(update(User).where(User.id != ada.id).values(username_key="ada"))
        case "uq_users_email":
            await session.execute(update(User).where(User.id != ada.id).values(email="ada@example.com"))
        case "ck_users_about_me_length":
            await session.execute(update(User).values(about_me="x" * 141))
        case "ck_posts_body_length":
            session.add(Post(author_id=ada.id, body="", created_at=now))
        case "uq_logins_token_digest":
            for _ in range(2):
                session.add(
                    Login(
                        token_digest="x",
                        user_id=ada.id,
                        created_at=now,
                        expires_at=now,
                        last_used_at=now,
                        browser="",
                        address="",
                    )
                )
    await session.flush()


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "rule",
    [
        "uq_users_username_key",
        "uq_users_email",
        "ck_users_about_me_length",
        "ck_posts_body_length",
        "uq_logins_token_digest",
    ],
)
async def test_a_violated_rule_is_named(ada: User, grace: User, database: Database, rule: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        async with database.transaction() as session:
            await provoke(session, ada, rule)

    assert violated_constraint(caught.value) == rule


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO posts (author_id, body, created_at) VALUES (4711, 'x', '2026-01-01')",
        "INSERT INTO posts (author_id, body, created_at) VALUES (NULL, 'x', '2026-01-01')",
        "INSERT INTO alembic_version (version_num) SELECT version_num FROM alembic_version",
    ],
)
async def test_a_rule_sqlite_does_not_name_is_none_of_ours(database: Database, statement: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        async with database.transaction() as session:
            await session.execute(text(statement))

    assert violated_constraint(caught.value) is None


async def test_what_was_sent_is_not_in_the_exception(ada: User, database: Database) -> None:
    async def act() -> None:
        async with database.transaction() as session:
            await service.register(session, "grace", "canary-4711@example.com", "canary-4711")
            await session.execute(update(User).values(email="canary-4711"))

    with pytest.raises(IntegrityError) as caught:
        await act()

    error: BaseException | None = caught.value
    while error is not None:
        assert "canary-4711" not in str(error)
        error = error.__cause__ or error.__context__


async def test_a_moment_comes_back_in_utc(ada: User, database: Database) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=8)))
    async with database.transaction() as session:
        await session.execute(update(User).values(last_seen=moment))

    async with database.reading() as connection:
        found = await connection.scalar(select(User.last_seen))
        assert await connection.scalar(select(User.id).where(User.last_seen == moment)) == ada.id
    assert found == moment
    assert found is not None
    assert found.tzinfo is UTC


async def test_the_id_of_a_deleted_account_is_not_given_again(ada: User, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(delete(User))
        again = await service.register(session, "ada", "ada@example.com", "a hash")

    assert again.id > ada.id


@pytest.mark.sqlite
async def test_a_locked_database_does_not_answer(app: Quart, database_url: str) -> None:
    impatient = Database(database_url)
    impatient.busy_timeout = 0.001

    async with app.app_context(), transaction():
        with pytest.raises(DatabaseUnavailable):
            async with impatient.transaction():
                pass
        assert await count(impatient) == 0
    async with impatient.transaction():
        pass
    await impatient.close()


@pytest.fixture
def file(app: Quart, tmp_path: Path) -> Path:
    """The database's file."""
    found = tmp_path / "quartblog.sqlite3"
    assert found.is_file()
    return found


@pytest.mark.sqlite
@pytest.mark.parametrize("for_a_folder", [True, False])
async def test_a_file_that_is_moved_away_does_not_answer_until_it_is_back(
    ada: User, database: Database, file: Path, *, for_a_folder: bool
) -> None:
    async with database.reading() as one, database.transaction() as other:
        # Two connections in the pool know the file.
        assert await one.scalar(select(1)) == await other.scalar(select(1)) == 1

    with moved_away(file, for_a_folder=for_a_folder):
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                async with database.transaction():
                    pass
            with pytest.raises(DatabaseUnavailable):
                await count(database)
        assert free(database)

    assert await count(database) == 1


async def test_closed_it_connects_anew(database: Database) -> None:
    await database.close()

    assert await count(database) == 0
