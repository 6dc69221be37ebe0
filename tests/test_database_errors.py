"""What SQLite's driver says, without the values it says it about."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, SQLAlchemyError, StatementError

from quartblog.database import Database
from quartblog.errors.exceptions import DatabaseUnavailable
from quartblog.models import Post, User
from tests.support.canaries import CANARY, NUMBER, exposed


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        pytest.param("SELECT :v", NUMBER**3, id="number out of range"),
        pytest.param("SELECT :v", CANARY + "\ud800", id="text nobody can encode"),
        pytest.param("SELECT :v", {CANARY}, id="type nobody can bind"),
        pytest.param("SELECT json_extract('{}', :v)", CANARY, id="JSON path"),
        pytest.param("SELECT json(:v)", CANARY, id="JSON"),
        pytest.param("SELECT * FROM search WHERE search MATCH :v", f"canary:{CANARY}", id="search for a column"),
        pytest.param("SELECT * FROM search WHERE search MATCH :v", f'+"{CANARY}', id="search that is wrong"),
        pytest.param("SELECT CAST(CAST(:v AS blob) || x'ff' AS text)", CANARY, id="text that is no UTF-8"),
        pytest.param("INSERT INTO users (email) VALUES (:v)", CANARY, id="row that is not whole"),
        pytest.param("UPDATE users SET about_me = :v", CANARY * 20, id="text too long"),
        pytest.param("SELECT * FROM nowhere WHERE id = :v", CANARY, id="table that is not there"),
    ],
)
async def test_no_exception_tells_a_value(ada: User, database: Database, sql: str, value: object) -> None:
    async with database.transaction() as session:
        await session.execute(text("CREATE VIRTUAL TABLE search USING fts5 (body)"))

    assert exposed(await failure(database, sql, v=value)) == []


async def test_a_value_no_column_type_takes_is_not_told(ada: User, database: Database) -> None:
    with pytest.raises(StatementError) as caught:
        async with database.transaction() as session:
            session.add(Post(author_id=ada.id, body="body", created_at=CANARY))

    assert exposed(caught.value) == []


async def test_what_tells_no_value_is_left_for_the_operator(ada: User, grace: User, database: Database) -> None:
    wrong = await failure(database, "SELECT users.wrong FROM users")
    missing = await failure(database, "SELECT * FROM nowhere WHERE id = :v", v=1)
    duplicate = await failure(database, "UPDATE users SET email = :v", v="eve@example.com")

    assert "no such column: users.wrong" in str(wrong)
    assert "no such table: nowhere" in str(missing)
    assert "UNIQUE constraint failed: users.email" in str(duplicate)
    assert "UPDATE users SET email" in str(duplicate)


async def test_a_wrong_statement_is_a_failure_and_not_an_absent_database(database: Database) -> None:
    with pytest.raises(OperationalError):
        async with database.transaction() as session:
            await session.execute(text("SELECT * FROM nowhere"))


async def test_a_database_that_cannot_be_written_does_not_answer(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text("PRAGMA query_only = ON"))

    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as session:
            await session.execute(text("DELETE FROM posts"))


async def failure(database: Database, sql: str, **values: object) -> BaseException:
    """How a statement fails in a transaction."""
    with pytest.raises((SQLAlchemyError, OverflowError, UnicodeError)) as caught:
        async with database.transaction() as session:
            await session.execute(text(sql), values)
    return caught.value
