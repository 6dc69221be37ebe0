"""`quartblog backup`: what is in the folder, who may read it, and when there is none."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from quartblog import backup
from quartblog.cli.backup import pg_dump
from quartblog.delivery import Outbox, OutboxOptions
from quartblog.errors.exceptions import BackupFailed
from quartblog.settings import Settings, secret_key
from tests.support.processes import ROOT, environment
from tests.support.small_disk import mounting, why_not

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Command

DATABASE = Path("instance/quartblog.sqlite3")
SQLITE = ["backup.json", "outbox.sqlite3", "quartblog.sqlite3", "secret_key"]


@pytest.fixture
def site(quartblog: Command, folder: Path) -> Path:
    """A working directory with a database, an account, an outbox and a key."""
    assert quartblog("db", "upgrade").exit_code == 0
    typed = "a long password\n"
    quartblog("user", "create", "ada", "--email", "ada@example.org", "--password-stdin", typed=typed)
    outbox = Outbox(OutboxOptions(folder / "instance" / "outbox.sqlite3"))
    outbox.open()
    outbox.close()
    secret_key(Settings())
    return folder


def names(folder: Path) -> list[str]:
    """The names of the files of a backup, without the list of checksums, which must be there."""
    found = sorted(path.name for path in folder.iterdir())
    assert "SHA256SUMS" in found
    found.remove("SHA256SUMS")
    return found


def modes(folder: Path) -> set[int]:
    """The permissions of a folder and of everything in it."""
    return {path.stat().st_mode & 0o777 & ~0o100 for path in (folder, *folder.rglob("*"))}


def ask(file: Path, statement: str) -> list[tuple[object, ...]]:
    """The rows that a statement finds in a SQLite file."""
    with closing(sqlite3.connect(file)) as database:
        return database.execute(statement).fetchall()


def ignore(_done: int, _total: int) -> None:
    """Show no progress."""


@pytest.fixture
def large(folder: Path) -> Path:
    """A SQLite file of several megabytes in which two tables always hold the same sum."""
    path = folder / "large.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE a (n INTEGER, filler TEXT)")
        database.execute("CREATE TABLE b (n INTEGER, filler TEXT)")
        for table in "ab":
            database.executemany(f"INSERT INTO {table} VALUES (1, ?)", [("x" * 1000,)] * 3000)
        database.commit()
    return path


def test_a_backup_holds_databases_key_and_settings(quartblog: Command, site: Path, config: Callable[..., None]) -> None:
    config(site={"name": "Example"})
    (site / "hypercorn.toml").write_text("workers = 1\n", "utf-8")

    result = quartblog("backup", "copy")

    assert (result.exit_code, result.stderr) == (0, "")
    assert names(site / "copy") == sorted([*SQLITE, "site.toml", "hypercorn.toml"])
    assert ask(site / "copy" / "quartblog.sqlite3", "SELECT username FROM users") == [("ada",)]
    assert ask(site / "copy" / "outbox.sqlite3", "PRAGMA integrity_check") == [("ok",)]
    assert (site / "copy" / "secret_key").read_bytes() == (site / "instance" / "secret_key").read_bytes()
    assert (site / "copy" / "site.toml").read_bytes() == (site / "config.toml").read_bytes()
    checked = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=site / "copy", capture_output=True, check=True)
    assert checked.stdout.count(b": OK") == len(names(site / "copy"))


def test_the_manifest_says_when_by_which_version_and_where_from(quartblog: Command, site: Path) -> None:
    quartblog("backup", "copy")

    about = json.loads((site / "copy" / "backup.json").read_text("utf-8"))

    assert about["quartblog"]
    assert about["at"].endswith("+00:00")
    assert {file["name"]: file["origin"] for file in about["files"]} == {
        name: str(site / "instance" / name) for name in SQLITE if name != "backup.json"
    }


def test_a_script_reads_json(quartblog: Command, site: Path) -> None:
    told = json.loads(quartblog("backup", "copy", "--json").stdout)

    assert told["folder"] == "copy"
    assert sorted(file["name"] for file in told["files"]) == SQLITE
    assert told["not_in_the_backup"] == []


def test_only_the_owner_can_read_it_from_the_first_byte(folder: Path, large: Path) -> None:
    seen: list[set[int]] = []
    before = os.umask(0)
    try:
        with backup.new(folder / "copy") as made:
            made.add_database(large, "large.sqlite3", lambda *_: seen.append(modes(unfinished(folder))))
            made.add_file(large, "small")
            seen.append(modes(unfinished(folder)))
    finally:
        os.umask(before)

    assert len(seen) > 2
    assert all(found == {0o600} for found in seen)
    assert modes(folder / "copy") == {0o600}


def unfinished(folder: Path) -> Path:
    """The folder of the backup in the making."""
    [found] = [path for path in folder.iterdir() if backup.UNFINISHED in path.name]
    return found


def test_writes_during_the_copy_neither_get_in_nor_make_it_begin_anew(folder: Path, large: Path) -> None:
    shown: list[int] = []
    with closing(sqlite3.connect(large, isolation_level=None)) as writer:

        def write(done: int, _total: int) -> None:
            shown.append(done)
            assert len(shown) < 100, "it began anew"
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE a SET n = n + 1")
            writer.execute("UPDATE b SET n = n + 1")
            writer.execute("COMMIT")

        with backup.new(folder / "copy") as made:
            made.add_database(large, "copy.sqlite3", write)

    assert shown == sorted(set(shown))
    assert len(shown) > 4
    assert ask(folder / "copy" / "copy.sqlite3", "SELECT max(a.n), max(b.n) FROM a, b WHERE a.rowid = b.rowid") == [
        (1, 1)
    ]
    assert ask(large, "SELECT DISTINCT n FROM a") == [(len(shown) + 1,)]


def test_what_a_killed_process_left_in_its_log_is_in_the_copy(folder: Path, large: Path) -> None:
    with closing(sqlite3.connect(large, isolation_level=None)) as writer:
        writer.execute("INSERT INTO a VALUES (99, '')")
        # As a kill leaves them: the log was never written back.
        killed = folder / "killed.sqlite3"
        for suffix in ("", "-wal"):
            Path(f"{killed}{suffix}").write_bytes(Path(f"{large}{suffix}").read_bytes())

    with backup.new(folder / "copy") as made:
        made.add_database(killed, "copy.sqlite3", ignore)

    assert ask(folder / "copy" / "copy.sqlite3", "SELECT count(*) FROM a WHERE n = 99") == [(1,)]
    assert names(folder / "copy") == ["copy.sqlite3"]


def test_whoever_opens_a_copy_makes_no_log_beside_it(quartblog: Command, site: Path) -> None:
    quartblog("backup", "copy")
    file = site / "copy" / "quartblog.sqlite3"

    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("SELECT count(*) FROM users").fetchone() == (1,)
        assert names(site / "copy") == SQLITE


def test_an_empty_folder_is_filled_and_stays_what_it_is(quartblog: Command, site: Path) -> None:
    (site / "copy").mkdir()
    was = (site / "copy").stat()

    assert quartblog("backup", "copy").exit_code == 0

    assert names(site / "copy") == SQLITE
    assert ((site / "copy").stat().st_ino, (site / "copy").stat().st_mode) == (was.st_ino, was.st_mode)


def test_an_empty_folder_stays_empty_when_a_file_cannot_be_put_there(folder: Path, large: Path) -> None:
    target = folder / "copy"
    target.mkdir()

    def take_the_place(_done: int, _total: int) -> None:
        (target / "b.sqlite3").mkdir(exist_ok=True)

    def back_up() -> None:
        with backup.new(target) as made:
            made.add_file(large, "a")
            made.add_database(large, "b.sqlite3", take_the_place)
            made.add_file(large, "c")

    with pytest.raises(BackupFailed, match="copy: cannot write the folder: Is a directory"):
        back_up()

    assert [path.name for path in target.iterdir()] == ["b.sqlite3"]


def test_folders_above_are_made(quartblog: Command, site: Path) -> None:
    assert quartblog("backup", "a/b/copy").exit_code == 0
    assert names(site / "a" / "b" / "copy") == SQLITE
    assert [path.name for path in (site / "a" / "b").iterdir()] == ["copy"]


def test_a_folder_in_use_is_refused_and_left_alone(quartblog: Command, site: Path) -> None:
    quartblog("backup", "copy")
    before = {path: path.stat().st_mtime_ns for path in (site / "copy").iterdir()}

    again = quartblog("backup", "copy")

    assert (again.exit_code, again.stderr) == (1, "Error: copy: is not empty: name a new or empty folder\n")
    assert {path: path.stat().st_mtime_ns for path in (site / "copy").iterdir()} == before


def test_a_file_in_the_place_of_the_folder_is_named(quartblog: Command, site: Path) -> None:
    (site / "copy").write_text("", "utf-8")

    result = quartblog("backup", "copy")

    assert (result.exit_code, result.stderr) == (1, "Error: copy: is a file: name a new or empty folder\n")


def test_a_folder_that_cannot_be_made_is_one_clear_line(quartblog: Command, site: Path) -> None:
    (site / "file").write_text("", "utf-8")

    result = quartblog("backup", "file/copy")

    assert (result.exit_code, result.stderr) == (1, "Error: file/copy: cannot write the folder: File exists\n")


def test_a_file_that_is_no_database_is_one_clear_line(quartblog: Command, folder: Path) -> None:
    DATABASE.parent.mkdir()
    DATABASE.write_text("text" * 2000, "utf-8")

    result = quartblog("backup", "copy")

    assert (result.exit_code, result.stderr) == (1, f"Error: {DATABASE}: cannot be read: file is not a database\n")
    assert not (folder / "copy").exists()


def test_a_missing_database_is_named_with_the_folder_that_has_no_settings(quartblog: Command, folder: Path) -> None:
    result = quartblog("backup", "copy")

    assert result.exit_code == 1
    assert result.stderr == f"Error: {DATABASE}: the database does not exist; there is no config.toml in {folder}\n"
    assert not (folder / "copy").exists()
    assert not (folder / "instance").exists()


def test_a_file_without_tables_is_no_blog(quartblog: Command, folder: Path) -> None:
    DATABASE.parent.mkdir()
    DATABASE.touch()

    result = quartblog("backup", "copy")

    assert result.exit_code == 1
    assert "has no tables of a blog" in result.stderr
    assert not (folder / "copy").exists()


def test_a_site_that_never_ran_has_no_outbox_yet(quartblog: Command, folder: Path) -> None:
    quartblog("db", "upgrade")

    result = quartblog("backup", "copy")

    assert result.exit_code == 0
    assert "Not in the backup: the outbox: instance/outbox.sqlite3 does not exist\n" in result.stdout


@pytest.mark.parametrize("file", ["quartblog.sqlite3", "outbox.sqlite3"])
def test_a_damaged_database_gives_no_backup(quartblog: Command, site: Path, file: str) -> None:
    path = site / "instance" / file
    with path.open("r+b") as damaged:
        # Behind the table of contents, so that the file still opens.
        damaged.seek(path.stat().st_size // 2 // 4096 * 4096)
        damaged.write(b"\xff" * 4096 * 3)

    result = quartblog("backup", "copy")

    assert result.exit_code == 1
    assert file in result.stderr
    assert "damaged" in result.stderr or "malformed" in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in site.iterdir()) == ["instance"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(
    quartblog: Command, site: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    @contextmanager
    def interrupted(_label: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda _done, _total: os.kill(os.getpid(), number)

    monkeypatch.setattr("quartblog.cli.backup.progress", interrupted)

    result = quartblog("backup", "copy")

    assert (result.exit_code, result.stderr) == (1, "Interrupted: there is no backup\n")
    assert sorted(path.name for path in site.iterdir()) == ["instance"]


KILLED = """
import os, signal, sys
from pathlib import Path
from quartblog import backup
with backup.new(Path(sys.argv[2])) as folder:
    folder.add_file(Path(sys.argv[1]), "first")
    folder.add_database(Path(sys.argv[1]), "second", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.parametrize("there", [False, True])
def test_a_killed_backup_never_looks_whole(folder: Path, large: Path, there: bool) -> None:  # noqa: FBT001
    target = folder / "copy"
    if there:
        target.mkdir()

    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(large), str(target)], env=environment() | {"PYTHONPATH": str(ROOT)},
        check=False,
    )  # fmt: skip

    assert ran.returncode == -signal.SIGKILL
    left = unfinished(target if there else folder)
    assert sorted(path.name for path in left.iterdir()) == ["first", "second"]
    assert not target.exists() or [path.name for path in target.iterdir()] == [left.name]
    if there:
        with pytest.raises(BackupFailed, match=f"contains {left.name}, which belongs to a backup that runs or was"):
            backup.new(target).__enter__()


def test_a_full_disk_is_named_and_gets_its_space_back(folder: Path, site: Path) -> None:
    point = folder / "disk"
    point.mkdir()
    if reason := why_not(point):
        pytest.skip(f"cannot mount a small disk here: {reason}")
    with closing(sqlite3.connect(DATABASE)) as database:
        # More than the disk holds.
        database.execute("CREATE TABLE filler AS SELECT zeroblob(12000000)")
        database.commit()
    command = f"{sys.executable} -m quartblog.cli backup {point / 'copy'}; echo exit $?; ls -A {point}"

    ran = subprocess.run(
        [*mounting(point), "sh", "-c", command],
        env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    why = "the disk is full, so there is no backup; free space, or name another disk"
    assert (ran.stdout, ran.stderr) == ("exit 1\n", f"Error: {point / 'copy'}: {why}\n")


def test_a_large_file_shows_its_progress(quartblog: Command, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quartblog.cli.progress.REPORT", 0.0)

    result = quartblog("backup", "copy")

    assert "Copying quartblog.sqlite3: 100%\n" in result.stderr
    assert "Copying" not in result.stdout
    assert (site / "copy").is_dir()


def test_secrets_are_named_and_can_stay_away(quartblog: Command, site: Path, config: Callable[..., None]) -> None:
    config(mail={"server": "127.0.0.1", "admins": ["a@example.org"], "username": "ada", "password": "hush",
                 "allow_plain_login": True})  # fmt: skip

    with_them = quartblog("backup", "with")
    without = quartblog("backup", "without", "--no-secrets")

    assert "the settings file; holds a secret" in with_them.stdout
    assert names(site / "without") == [name for name in SQLITE if name != "secret_key"]
    assert "Not in the backup: instance/secret_key\n" in without.stdout
    assert "Not in the backup: config.toml\n" in without.stdout
    assert all(b"hush" not in path.read_bytes() for path in (site / "without").iterdir())
    assert "hush" not in with_them.output


def test_settings_of_the_environment_are_named_without_their_values(quartblog: Command, site: Path) -> None:
    result = quartblog("backup", "copy", QUARTBLOG_SITE__NAME="Elsewhere")

    assert "Not in the backup: settings from the environment: [site] name\n" in result.stdout
    assert "Elsewhere" not in result.output
    assert (site / "copy").is_dir()


# Without the driver of PostgreSQL, the settings are refused.
@pytest.mark.postgres
def test_of_postgresql_it_copies_the_outbox_and_names_the_command_for_the_rest(quartblog: Command, site: Path) -> None:
    url = "postgresql+asyncpg://blog:hush@db.example.org:5433/blog"

    result = quartblog("backup", "copy", QUARTBLOG_DATABASE__URL=url)

    assert result.exit_code == 0
    assert names(site / "copy") == ["backup.json", "outbox.sqlite3", "secret_key"]
    assert (
        "pg_dump --format=custom --file=copy/quartblog.dump "
        "'--dbname=host=db.example.org port=5433 user=blog dbname=blog'" in result.stdout
    )
    assert "hush" not in result.output
    assert all(b"hush" not in path.read_bytes() for path in (site / "copy").iterdir())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+asyncpg:///blog?host=/run/pg&user=ada", "host=/run/pg user=ada dbname=blog"),
        ("postgresql+asyncpg://h/blog?password=hush&ssl=require", "host=h dbname=blog sslmode=require"),
        ("postgresql+asyncpg://it%27s%20me@h/a%5Cb", r"host=h user='it\'s me' dbname='a\\b'"),
        ("postgresql+asyncpg:///?service=blog&servicefile=/etc/pg", "service=blog servicefile=/etc/pg"),
    ],
)
def test_the_command_for_postgresql_connects_as_the_site_does(url: str, words: str) -> None:
    printed = pg_dump(make_url(url), Path("q.dump"))

    shown = subprocess.run(
        ["sh", "-c", f'pg_dump() {{ printf "%s\\n" "$3"; }}; {printed}'], capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"--dbname={words}\n"
    assert "hush" not in printed
