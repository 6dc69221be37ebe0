"""`quartblog db upgrade`."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from quartblog import migrations

Command = Callable[..., Result]


def test_the_first_upgrade_makes_the_tables_and_the_next_changes_nothing(quartblog: Command, folder: Path) -> None:
    first, second = quartblog("db", "upgrade"), quartblog("db", "upgrade")

    assert (first.exit_code, first.stdout) == (0, f"empty -> {migrations.head()}\n")
    assert (second.exit_code, second.stdout) == (0, f"already at {migrations.head()}\n")
    assert (folder / "instance" / "quartblog.sqlite3").exists()


def test_a_database_of_a_later_version_is_one_clear_line(quartblog: Command) -> None:
    quartblog("db", "upgrade")
    connection = sqlite3.connect("instance/quartblog.sqlite3")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()

    result = quartblog("db", "upgrade")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: this version of quartblog cannot use the database: ")
    assert "9999" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_no_database_is_one_clear_line(quartblog: Command, folder: Path) -> None:
    (folder / "notes.txt").write_text("this is no database, only a text of more than a hundred characters. " * 3)

    result = quartblog("db", "upgrade", QUARTBLOG_DATABASE__URL="sqlite+aiosqlite:///notes.txt")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the database does not answer: ")
    assert result.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_one_clear_line(quartblog: Command, folder: Path) -> None:
    (folder / "instance").write_text("a file is in the way")

    result = quartblog("db", "upgrade")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: cannot upgrade the tables: ")
    assert result.stderr.count("\n") == 1


def test_a_copy_shows_what_it_has_compared(quartblog: Command) -> None:
    quartblog("db", "upgrade")
    quartblog("user", "create", "ada", "--email", "ada@example.com", "--password-stdin", typed="a long password\n")

    result = quartblog("db", "copy", "sqlite+aiosqlite:///instance/quartblog.sqlite3", "sqlite+aiosqlite:///new/b.db")

    assert result.exit_code == 0
    head, users, *_, last = result.stdout.splitlines()
    assert head.split() == ["table", "rows", "checksum"]
    assert users.split()[:2] == ["users", "1"]
    assert len(users.split()[2]) == 64
    assert last == "Both sides are equal. Set [database] url to TO, and start the site."
    assert Path("new/b.db").stat().st_mode & 0o777 == 0o600


def test_a_copy_that_cannot_be_made_is_one_clear_line(quartblog: Command) -> None:
    quartblog("db", "upgrade")
    ours = "sqlite+aiosqlite:///instance/quartblog.sqlite3"

    for source, target, words in (
        ("sqlite+aiosqlite:///none.db", "sqlite+aiosqlite:///new.db", "none.db does not exist"),
        (ours, ours, "both are the same database"),
    ):
        result = quartblog("db", "copy", source, target)
        assert (result.exit_code, result.stdout) == (1, ""), words
        assert words in result.stderr
    assert not Path("none.db").exists()
    assert not Path("new.db").exists()


def test_a_copy_names_no_password(quartblog: Command) -> None:
    quartblog("db", "upgrade")
    ours = "sqlite+aiosqlite:///instance/quartblog.sqlite3"

    wrong = quartblog("db", "copy", ours, "mysql://ada:sesame-4711@127.0.0.1/blog")
    away = quartblog("db", "copy", ours, "postgresql+asyncpg://ada:sesame-4711@127.0.0.1:1/blog")

    assert wrong.exit_code == 2
    assert "not the URL of a database; allowed is sqlite+aiosqlite" in wrong.stderr
    # 2 without asyncpg.
    assert away.exit_code in {1, 2}
    assert "sesame-4711" not in wrong.stderr + away.stderr
