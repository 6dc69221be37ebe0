"""The schema: models and migrations agree, and no step loses a row without saying so."""

import asyncio
import logging
import multiprocessing
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine

from quartblog import migrations
from quartblog.app import create_app
from quartblog.database import EXTENSION, Base, Database
from quartblog.errors.exceptions import SchemaOutdated
from quartblog.settings import Settings
from tests.support.browsing import Configuration


def schema(file: Path) -> list[tuple[str, str]]:
    """Every table and index as SQLite keeps it."""
    connection = sqlite3.connect(file)
    try:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return [(str(name), str(sql)) for name, sql in rows]
    finally:
        connection.close()


def parts(sql: str) -> set[str]:
    """The columns and constraints of a statement: SQLite adds a column at the end of the text, on the last line."""
    if not sql.startswith("CREATE TABLE"):
        return {sql}
    depth, found = 0, [""]
    for character in sql:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 1:
            found.append("")
        else:
            found[-1] += character
    head, _, first = found[0].partition("(")
    return {" ".join(part.split()) for part in (head, first, *found[1:-1], found[-1].rpartition(")")[0])}


def url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


def insert_account(file: Path) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(
            "INSERT INTO users"
            " (username, username_key, email, password_hash, about_me, is_admin, created_at, last_seen) VALUES"
            " ('ada', 'ada', 'ada@example.com', 'a hash', '', 0, '2026-01-01', '2026-01-01')"
        )
    connection.close()


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


@pytest.fixture
def file(tmp_path: Path, empty_database: Path) -> Path:
    """A migrated database."""
    path = tmp_path / "blog.sqlite3"
    shutil.copy(empty_database, path)
    return path


def test_models_and_migrations_agree(file: Path) -> None:
    engine = create_engine(f"sqlite:///{file}")

    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


def test_the_comparison_sees_a_difference(file: Path) -> None:
    engine = create_engine(f"sqlite:///{file}")

    with engine.connect() as connection:
        connection.exec_driver_sql("DROP INDEX uq_users_email")
        connection.exec_driver_sql("ALTER TABLE posts ADD COLUMN title TEXT")
        assert len(differences(connection)) == 2
    engine.dispose()


def test_a_created_schema_has_the_same_rules_as_a_migrated_one(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "created.sqlite3"
    engine = create_engine(f"sqlite:///{other}")
    Base.metadata.create_all(engine)
    engine.dispose()

    def rules(path: Path) -> dict[str, set[str]]:
        return {name: parts(sql) for name, sql in schema(path) if not name.startswith(("alembic", "sqlite"))}

    assert rules(other) == rules(file)


def test_down_and_up_again_gives_the_same_schema(file: Path) -> None:
    before = schema(file)

    migrations.downgrade(url(file), "base")
    emptied = schema(file)
    migrations.upgrade(url(file))

    assert not {name for name, _ in emptied} & {"users", "logins", "posts"}
    assert schema(file) == before
    assert migrations.current(url(file)) == migrations.head()


def test_going_back_refuses_to_lose_an_account(file: Path) -> None:
    insert_account(file)
    before = schema(file)

    with pytest.raises(RuntimeError, match="refused: this would delete 1 accounts"):
        migrations.downgrade(url(file), "base")

    assert schema(file) == before
    assert migrations.current(url(file)) == migrations.head()
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT username FROM users").fetchall() == [("ada",)]
    connection.close()


def test_upgrading_again_changes_nothing(file: Path) -> None:
    insert_account(file)
    before = schema(file)

    migrations.upgrade(url(file))

    assert schema(file) == before


def test_the_first_upgrade_makes_folder_and_file(tmp_path: Path) -> None:
    new = tmp_path / "not" / "yet" / "blog.sqlite3"
    assert migrations.current(url(new)) is None
    assert not new.exists()

    migrations.upgrade(url(new))

    assert migrations.current(url(new)) == migrations.head()


def test_two_processes_may_upgrade_at_once(tmp_path: Path) -> None:
    new = tmp_path / "blog.sqlite3"
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=migrations.upgrade, args=(url(new),), daemon=True) for _ in range(2)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0]
    assert migrations.current(url(new)) == migrations.head()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, f"the database is at revision none, this version needs {migrations.head()}: run `quartblog db upgrade`"),
        (
            "0000",
            f"the database is at revision 0000, this version needs {migrations.head()}: run `quartblog db upgrade`",
        ),
        (migrations.copying(), "the database is an unfinished copy: run the same `quartblog db copy` again"),
    ],
)
def test_another_revision_stops_the_start_and_says_what_to_do(
    *, configuration: Configuration, file: Path, found: str | None, words: str
) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("DELETE FROM alembic_version")
        if found:
            connection.execute("INSERT INTO alembic_version VALUES (?)", [found])
    connection.close()
    settings = Settings.model_validate(configuration | {"database": {"url": url(file)}})
    log = settings.logging.directory / settings.logging.filename
    app = create_app(settings)

    async def start() -> None:
        async with app.test_app():
            raise AssertionError("it starts")

    with pytest.raises(Exception, match=words):
        asyncio.run(start())

    text = log.read_text("utf-8")
    assert " CRITICAL: Stopped at the start" in text
    assert f"SchemaOutdated: {words}" in text
    assert "微博已启动" not in text
    assert app.extensions[EXTENSION].engine.pool.checkedin() == 0, "a connection stays open"


async def test_the_check_passes_at_the_head_and_fails_elsewhere(file: Path) -> None:
    database = Database(url(file))
    try:
        await migrations.check(database)
        async with database.transaction() as session:
            await (await session.connection()).exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
        with pytest.raises(SchemaOutdated):
            await migrations.check(database)
    finally:
        await database.close()


def test_an_unfinished_copy_is_not_upgraded(file: Path) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [migrations.copying()])
    connection.close()

    with pytest.raises(SchemaOutdated, match="unfinished copy"):
        migrations.upgrade(url(file))
    # As in an older version of quartblog, where only Alembic looks at the revision.
    with pytest.raises(CommandError, match="Can't locate revision identified by 'copying "):
        migrations.downgrade(url(file), "base")

    assert migrations.current(url(file)) == migrations.copying()


def test_the_revision_of_an_unfinished_copy_fits_into_its_column() -> None:
    assert len(migrations.copying()) <= 32


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite+aiosqlite:///instance/blog.sqlite3", Path("instance/blog.sqlite3")),
        ("sqlite+aiosqlite:////srv/blog.sqlite3", Path("/srv/blog.sqlite3")),
        ("sqlite+aiosqlite://", None),
        ("sqlite+aiosqlite:///:memory:", None),
        ("postgresql+asyncpg://somebody@localhost/blog", None),
    ],
)
def test_only_sqlite_has_a_file(address: str, path: Path | None) -> None:
    assert migrations.sqlite_file(address) == path


def test_starting_says_nothing_about_the_migrations_machinery() -> None:
    assert logging.getLogger("alembic.runtime.migration").level == logging.WARNING


def test_the_file_of_the_accounts_is_for_its_owner_alone(tmp_path: Path) -> None:
    migrations.upgrade(f"sqlite+aiosqlite:///{tmp_path}/site/blog.sqlite3")

    assert stat.S_IMODE((tmp_path / "site" / "blog.sqlite3").stat().st_mode) == 0o600
