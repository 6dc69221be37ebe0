"""The tables as PostgreSQL has them."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, select, text
from werkzeug.security import generate_password_hash

from quartblog import migrations
from quartblog.auth import service
from quartblog.database import Base, Database
from quartblog.models import Post, User
from tests.support.postgres import Cluster

pytestmark = pytest.mark.postgres

# What quartblog.auth.passwords makes outside of tests.
REAL_METHOD = "scrypt:32768:8:1"


def test_an_upgrade_can_be_taken_back_and_repeated(cluster: Cluster, database_name: str) -> None:
    url = cluster.create(database_name)

    assert migrations.current(url) is None
    migrations.upgrade(url)
    assert migrations.current(url) == migrations.head()
    migrations.downgrade(url, "base")
    assert migrations.current(url) is None
    assert _tables(cluster, database_name) == {"alembic_version"}
    migrations.upgrade(url)

    assert migrations.current(url) == migrations.head()
    assert _tables(cluster, database_name) == {"alembic_version", *Base.metadata.tables}


async def test_taking_back_the_first_tables_is_refused_while_somebody_has_an_account(
    ada: User, database_url: str, cluster: Cluster, database_name: str
) -> None:
    with pytest.raises(RuntimeError, match="refused: this would delete 1 accounts"):
        await asyncio.to_thread(migrations.downgrade, database_url, "base")

    assert cluster.sql("SELECT username FROM users", database_name) == "ada"


async def test_the_models_and_the_migrated_tables_agree(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    async with database.writer.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_every_constraint_has_the_name_the_models_give_it(database: Database) -> None:
    def names(connection: Connection) -> set[str | None]:
        found: set[str | None] = set()
        tables = inspect(connection)
        for table in Base.metadata.tables:
            found |= {index["name"] for index in tables.get_indexes(table)}
            found |= {check["name"] for check in tables.get_check_constraints(table)}
            found |= {key["name"] for key in tables.get_foreign_keys(table)}
            found.add(tables.get_pk_constraint(table)["name"])
        return found

    expected = {str(index.name) for table in Base.metadata.tables.values() for index in table.indexes}
    expected |= {str(rule.name) for table in Base.metadata.tables.values() for rule in table.constraints}
    async with database.engine.connect() as connection:
        assert await connection.run_sync(names) == expected


async def test_a_hash_of_full_strength_fits_its_column(database: Database) -> None:
    password_hash = generate_password_hash("correct horse", REAL_METHOD)
    async with database.transaction() as session:
        await service.register(session, "ada", "ada@example.com", password_hash)

    async with database.transaction() as session:
        assert await session.scalar(select(User.password_hash)) == password_hash


async def test_the_longest_name_address_text_and_post_fit(database: Database) -> None:
    name, address, body = "字" * 64, f"a@{'b' * 248}.com", "字" * 140
    async with database.transaction() as session:
        user = await service.register(session, name, address, "hash")
        user.about_me = body
        session.add(Post(author_id=user.id, body=body, created_at=datetime.now(UTC)))

    async with database.transaction() as session:
        row = (
            await session.execute(select(User.username, User.email, User.about_me, Post.body).join(Post.author))
        ).one()
    assert row == (name, address, body, body)


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
async def test_a_moment_comes_back_in_utc_wherever_the_server_is(
    ada: User, database: Database, cluster: Cluster, database_name: str, zone: str
) -> None:
    cluster.sql(f"""ALTER DATABASE "{database_name}" SET timezone = '{zone}'""")
    await database.close()
    moment = datetime(2026, 3, 1, 7, 30, 15, 123456, timezone(timedelta(hours=8)))

    async with database.transaction() as session:
        assert await session.scalar(text("SHOW timezone")) == zone
        session.add(Post(author_id=ada.id, body="body", created_at=moment))
    async with database.transaction() as session:
        found = (await session.scalars(select(Post))).one().created_at

    assert found == moment
    assert found.tzinfo is UTC


def _tables(cluster: Cluster, database: str) -> set[str]:
    return set(cluster.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database).splitlines())
