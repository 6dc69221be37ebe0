"""`quartblog db upgrade` and `db copy`."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quartblog import database_copy, migrations

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from tests.cli.standins import Workers
    from tests.support.postgres import Cluster

    Command = Callable[..., Result]


def url(file: str) -> str:
    """The URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{file}"


OURS = url("instance/quartblog.sqlite3")


def site_with_an_account(quartblog: Command) -> None:
    """Make the tables and an account in the site's own database."""
    quartblog("db", "upgrade")
    quartblog("user", "create", "ada", "--email", "ada@example.com", "--password-stdin", typed="a long password\n")


def half_a_copy(quartblog: Command) -> None:
    """Make b.db, a copy that its user interrupted at the first row."""
    site_with_an_account(quartblog)
    quartblog("db", "upgrade", QUARTBLOG_DATABASE__URL=url("b.db"))

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(database_copy.copy(OURS, url("b.db"), interrupt))


def make_foreign(file: str) -> None:
    """Make the database of another program."""
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE theirs (id INTEGER)")
    connection.close()


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
    site_with_an_account(quartblog)

    result = quartblog("db", "copy", OURS, url("new/b.db"))

    assert result.exit_code == 0
    head, users, *_, equal, last = result.stdout.splitlines()
    assert head.split() == ["table", "rows", "checksum"]
    assert users.split()[:2] == ["users", "1"]
    assert len(users.split()[2]) == 64
    assert equal == "Both sides are equal. Rows written to FROM since then are not in TO."
    assert last == "Set [database] url to TO, and start the site."
    assert Path("new/b.db").stat().st_mode & 0o777 == 0o600


def test_a_copy_that_cannot_be_made_is_one_clear_line(quartblog: Command) -> None:
    quartblog("db", "upgrade")
    make_foreign("theirs.db")
    theirs = Path("theirs.db").read_bytes()

    for source, target, words in (
        (url("none.db"), url("new.db"), "none.db does not exist"),
        (url("theirs.db"), url("new.db"), "FROM cannot be copied: the database is at revision none"),
        (OURS, url("instance/../instance/quartblog.sqlite3"), "FROM and TO are the same database"),
        (OURS, url("theirs.db"), "TO has tables of another program (theirs)"),
    ):
        result = quartblog("db", "copy", source, target)
        assert (result.exit_code, result.stdout) == (1, ""), words
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    assert not Path("none.db").exists()
    assert not Path("new.db").exists()
    assert Path("theirs.db").read_bytes() == theirs


def test_a_finished_copy_is_not_copied_into_again(quartblog: Command) -> None:
    site_with_an_account(quartblog)
    assert quartblog("db", "copy", OURS, url("b.db")).exit_code == 0

    again = quartblog("db", "copy", OURS, url("b.db"))

    assert again.exit_code == 1
    assert "TO has rows already (users), and they are not from an interrupted copy" in again.stderr
    assert "begin anew: remove b.db, and b.db-wal and b.db-shm if they exist, then run the same command" in again.stderr
    assert "db upgrade" not in again.stderr


def test_half_a_copy_is_one_clear_line_for_every_other_command(quartblog: Command, workers: Workers) -> None:
    half_a_copy(quartblog)

    for command in (["db", "upgrade"], ["run", "--port", "0"], ["user", "admin", "ada"]):
        result = quartblog(*command, QUARTBLOG_DATABASE__URL=url("b.db"))
        assert result.exit_code == 1, command
        assert result.stderr == ("Error: the database is an unfinished copy: run the same `quartblog db copy` again\n")


def test_a_copy_that_is_interrupted_goes_on(quartblog: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    site_with_an_account(quartblog)

    async def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("quartblog.database_copy.copy", interrupted)
        first = quartblog("db", "copy", OURS, url("b.db"))
    second = quartblog("db", "copy", OURS, url("b.db"))

    assert (first.exit_code, first.stdout) == (1, "")
    assert first.stderr == "Interrupted: run the same command again, and it goes on\n"
    assert second.exit_code == 0


def test_a_bar_shows_the_whole_copy_in_a_terminal(quartblog: Command, terminal: None) -> None:
    site_with_an_account(quartblog)

    result = quartblog("db", "copy", OURS, url("b.db"))

    assert "Copying and comparing" in result.stderr
    assert "100%" in result.stderr


def test_a_log_gets_a_line_every_ten_seconds(quartblog: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    site_with_an_account(quartblog)
    # Each look at the clock is six seconds after the one before.
    monkeypatch.setattr("quartblog.cli.progress.monotonic", itertools.count(step=6).__next__)

    result = quartblog("db", "copy", OURS, url("b.db"))

    # The progress is reported at 0 of 3 steps, 1, 2 and 3.
    assert result.stderr == "Copying and comparing: 33%\nCopying and comparing: 100%\n"


def test_an_empty_site_is_copied_however_long_it_takes(quartblog: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    quartblog("db", "upgrade")
    monkeypatch.setattr("quartblog.cli.progress.monotonic", itertools.count(step=20).__next__)

    assert quartblog("db", "copy", OURS, url("b.db")).exit_code == 0


def test_a_copy_names_no_password(quartblog: Command) -> None:
    quartblog("db", "upgrade")

    wrong = quartblog("db", "copy", OURS, "mysql://ada:sesame-4711@127.0.0.1/blog")
    away = quartblog("db", "copy", OURS, "postgresql+asyncpg://ada:sesame-4711@127.0.0.1:1/blog")

    assert wrong.exit_code == 2
    assert "not the URL of a database; allowed is sqlite+aiosqlite" in wrong.stderr
    # 2 without asyncpg.
    assert away.exit_code in {1, 2}
    assert "sesame-4711" not in wrong.stderr + away.stderr


@pytest.mark.postgres
def test_what_postgresql_refuses_is_told_with_its_remedy(
    quartblog: Command, cluster: Cluster, database_name: str
) -> None:
    quartblog("db", "upgrade")
    cluster.sql(f"CREATE DATABASE {database_name}")
    there = cluster.url(database_name)
    role = "Create a missing role with `createuser -P ROLE`; put its password into [database] url or PGPASSWORD"

    for target, refusal in (
        (cluster.url("nowhere"), 'database "nowhere" does not exist. Create it with `createdb -O ROLE NAME`'),
        (there.replace("blog@", "nobody:sesame-4711@"), f'role "nobody" does not exist. {role}'),
        (
            there,
            "permission denied for schema public. Let the role own the database: `ALTER DATABASE NAME OWNER TO ROLE`",
        ),
    ):
        for command in (["db", "copy", OURS, target], ["db", "upgrade"]):
            result = quartblog(*command, QUARTBLOG_DATABASE__URL=target)
            assert result.exit_code == 1
            assert result.stderr == f"Error: PostgreSQL refuses access: {refusal}\n"


@pytest.mark.postgres
def test_a_site_moves_to_an_empty_postgresql(quartblog: Command, cluster: Cluster, database_name: str) -> None:
    site_with_an_account(quartblog)
    target = cluster.create(database_name)

    first, second = quartblog("db", "copy", OURS, target), quartblog("db", "copy", OURS, target)

    assert first.exit_code == 0
    assert second.exit_code == 1
    assert f"run `dropdb {database_name} && createdb -O blog {database_name}`" in second.stderr
    assert quartblog("user", "admin", "ada", QUARTBLOG_DATABASE__URL=target).exit_code == 0
