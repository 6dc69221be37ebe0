"""No exception shows what was sent to the database, whoever words it: PostgreSQL, asyncpg or SQLAlchemy."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from quartblog.auth import service
from quartblog.database import Database
from quartblog.models import Post, User
from tests.support.canaries import CANARY, NUMBER, exposed
from tests.support.postgres import Cluster

pytestmark = pytest.mark.postgres

Act = Callable[[AsyncSession], Awaitable[object]]


async def failure(database: Database, act: Act) -> StatementError:
    """How the act fails in a transaction."""
    with pytest.raises(StatementError) as caught:
        async with database.transaction() as session:
            await act(session)
    return caught.value


def statement(sql: str, **values: object) -> Act:
    """Run one statement with values."""
    return lambda session: session.execute(text(sql), values)


def adding(**values: Any) -> Act:
    """Write one post."""

    async def act(session: AsyncSession) -> None:
        session.add(Post(**{"author_id": 1, "body": "body", "created_at": datetime.now(UTC), **values}))
        await session.flush()

    return act


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(statement("SELECT CAST(:v AS integer)", v=CANARY), id="argument of another type"),
        pytest.param(statement("SELECT * FROM users WHERE id = :v", v=NUMBER), id="argument out of range"),
        pytest.param(statement("SELECT CAST(:v AS uuid)", v=CANARY), id="argument asyncpg cannot read"),
        pytest.param(statement("SELECT CAST(:v AS inet)", v=CANARY), id="argument Python cannot read"),
        pytest.param(statement("SELECT CAST(:v AS text)", v=CANARY + "\ud800"), id="argument nobody can encode"),
        pytest.param(statement("SELECT CAST(:v AS text)", v=CANARY + "\0"), id="NUL byte"),
        pytest.param(statement("SELECT CAST(CAST(:v AS text) AS integer)", v=CANARY), id="invalid text"),
        pytest.param(statement("SELECT CAST(CAST(:v AS text) AS integer)", v=str(NUMBER)), id="text out of range"),
        pytest.param(statement("SELECT CAST(CAST(:v AS text) AS timestamptz)", v=CANARY), id="invalid moment"),
        pytest.param(statement("SELECT CAST(CAST(:v AS text) AS json)", v=CANARY + "{"), id="invalid JSON"),
        pytest.param(statement("SELECT to_tsquery(:v)", v=CANARY + " (("), id="invalid search"),
        pytest.param(statement("SELECT CAST(CAST(:v AS text) AS regclass)", v=f'"{CANARY}"'), id="no such table"),
        pytest.param(statement("SELECT 1 WHERE 'a' ~ :v", v=CANARY + "(("), id="invalid pattern"),
        pytest.param(statement("SELECT set_config('x', :v, true)", v=CANARY), id="unknown setting"),
        pytest.param(statement("SELECT set_config('timezone', :v, true)", v=CANARY), id="invalid setting"),
        pytest.param(statement("SELECT nobody_has_this_function(:v)", v=CANARY), id="statement that is wrong"),
        pytest.param(adding(body=CANARY * 20), id="text too long"),
        pytest.param(adding(body=None, author_id=NUMBER // 1000), id="no value at all"),
        pytest.param(adding(body=CANARY, author_id=10**6), id="nobody's post"),
        pytest.param(adding(author_id=CANARY), id="text for a number"),
        pytest.param(adding(created_at=CANARY), id="text for a moment"),
    ],
)
async def test_no_exception_tells_a_value(ada: User, database: Database, act: Act) -> None:
    assert exposed(await failure(database, act)) == []


async def test_a_duplicate_does_not_tell_what_was_there_twice(database: Database) -> None:
    async with database.transaction() as session:
        await service.register(session, "ada", CANARY, "hash")

    async def again(session: AsyncSession) -> None:
        session.add(user := User(username="eve", username_key="eve", email=CANARY, password_hash=CANARY, about_me=""))
        user.created_at = user.last_seen = datetime.now(UTC)
        await session.flush()

    error = await failure(database, again)

    assert isinstance(error, IntegrityError)
    assert "uq_users_email" in str(error)
    assert exposed(error) == []


async def test_a_rule_checked_at_the_commit_does_not_tell_the_row(
    ada: User, database: Database, cluster: Cluster, database_name: str
) -> None:
    cluster.sql("ALTER TABLE users ADD CONSTRAINT late UNIQUE (email) DEFERRABLE INITIALLY DEFERRED", database_name)
    cluster.sql("DROP INDEX uq_users_email", database_name)

    error = await failure(database, statement("INSERT INTO users SELECT 7, :v, :v, email, :v FROM users", v=CANARY))

    assert exposed(error) == []


async def test_a_trigger_does_not_tell_what_it_was_given(
    ada: User, database: Database, cluster: Cluster, database_name: str
) -> None:
    cluster.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'refused %', NEW.body USING HINT = NEW.body, DETAIL = NEW.body; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION refuse()",
        database_name,
    )

    assert exposed(await failure(database, adding(author_id=ada.id, body=CANARY))) == []


async def test_what_tells_no_value_is_left_for_the_operator(ada: User, database: Database) -> None:
    missing = await failure(database, statement("SELECT nothing FROM users"))
    long = await failure(database, adding(author_id=ada.id, body="x" * 141))
    wrong = await failure(database, statement("SELECT CAST(:v AS integer)", v="x"))

    assert isinstance(missing, ProgrammingError)
    assert 'column "nothing" does not exist' in str(missing)
    assert "value too long for type character varying(140)" in str(long)
    assert "INSERT INTO posts" in str(long)
    assert "invalid input for query argument $1" in str(wrong)
