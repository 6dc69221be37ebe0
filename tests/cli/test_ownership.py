"""A command that another user runs takes none of the service's files away."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import quartblog
from quartblog.delivery import Outbox, OutboxOptions
from quartblog.settings import Settings, secret_key
from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Command

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for another user")

NOBODY, SOMEBODY = 65534, 65533

# The commands are imported before, because the interpreter itself may lie where only root can read it.
COMMANDS = """
import gc, json, os, sys, tempfile
from quartblog import migrations
from quartblog.cli import main
with tempfile.TemporaryDirectory() as elsewhere:
    migrations.upgrade(f"sqlite+aiosqlite:///{elsewhere}/warm.sqlite3")
gc.freeze()  # else the end of each child looks through all that was imported
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
for arguments in json.loads(sys.argv[2]):
    child = os.fork()
    if not child:
        main(arguments, prog_name="quartblog")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(autouse=True)
def folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, which the service's user can reach: pytest keeps the folders above its own to itself."""
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        made = Path(above) / "site"
        made.mkdir()
        os.chown(made, NOBODY, NOBODY)
        monkeypatch.chdir(made)
        yield made


def strangers(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything in the folder that is not the service's."""
    found = {str(one.relative_to(folder)): (one.stat().st_uid, one.stat().st_gid) for one in folder.rglob("*")}
    return {name: owner for name, owner in found.items() if owner != (NOBODY, NOBODY)}


def run_as(user: int, *commands: tuple[str, ...]) -> str:
    """Return what the commands print and their exit codes, run by this user."""
    if not all(one.stat().st_mode & 0o001 for one in Path(quartblog.__file__).parents):
        pytest.skip("other users cannot look into the folders above this checkout")
    ran = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(user), json.dumps(commands)],
        # Not measured: this user may not write where coverage.py keeps its figures.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
        input="a long password\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=True,
    )  # fmt: skip
    return ran.stdout


def test_the_database_that_root_makes_is_the_services(quartblog: Command, folder: Path) -> None:
    assert quartblog("db", "upgrade").exit_code == 0
    made = quartblog(
        "user", "create", "ada", "--email", "ada@example.org", "--password-stdin", typed="a long password\n"
    )

    assert made.exit_code == 0
    assert (folder / "instance" / "quartblog.sqlite3").stat().st_mode & 0o777 == 0o600
    assert strangers(folder) == {}


def test_while_root_works_the_database_stays_usable_for_the_service(quartblog: Command, folder: Path) -> None:
    quartblog("db", "upgrade")
    # The files beside it are there as long as somebody has it open.
    open_here = sqlite3.connect(folder / "instance" / "quartblog.sqlite3")
    open_here.execute("SELECT count(*) FROM users").fetchone()

    assert (folder / "instance" / "quartblog.sqlite3-shm").exists()
    assert strangers(folder) == {}
    assert run_as(NOBODY, ("user", "create", "bob", "--email", "b@example.org", "--password-stdin")).endswith("\n0\n")
    open_here.close()


def test_a_backup_of_root_makes_nothing_of_its_own_beside_the_services_files(quartblog: Command, folder: Path) -> None:
    quartblog("db", "upgrade")
    # A process was killed: SQLite makes the files beside the database anew.
    opened = sqlite3.connect(folder / "instance" / "quartblog.sqlite3")
    opened.execute("SELECT count(*) FROM users").fetchone()

    with tempfile.TemporaryDirectory() as elsewhere:
        made = quartblog("backup", f"{elsewhere}/copy")

        assert made.exit_code == 0
        assert Path(elsewhere, "copy").stat().st_uid == 0
    assert strangers(folder) == {}
    assert run_as(NOBODY, ("user", "create", "bob", "--email", "b@example.org", "--password-stdin")).endswith("\n0\n")
    opened.close()


def test_the_key_that_root_makes_is_the_services(folder: Path) -> None:
    secret_key(Settings())

    assert strangers(folder) == {}


def test_after_a_test_mail_of_root_the_outbox_is_still_the_services(
    quartblog: Command, folder: Path, config: Callable[..., None]
) -> None:
    with MailServer() as server:
        config(mail={"server": "127.0.0.1", "port": server.port, "admins": ["ada@example.org"]})
        os.chown(folder / "config.toml", NOBODY, NOBODY)
        (folder / "instance").mkdir()
        os.chown(folder / "instance", NOBODY, NOBODY)
        outbox = Outbox(OutboxOptions(folder / "instance" / "outbox.sqlite3"))
        outbox.groups()
        outbox.close()

        assert quartblog("mail", "test").exit_code == 0
        assert strangers(folder) == {}


def test_an_unexpected_failure_of_roots_command_leaves_the_log_to_the_service(
    quartblog: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("quartblog.cli.database.bring_up_to_date", fail)

    assert "failed unexpectedly (ZeroDivisionError)" in quartblog("db", "upgrade").output
    assert (folder / "logs" / "microblog.log").exists()
    assert strangers(folder) == {}


def test_another_user_reads_whose_files_they_are_and_makes_none(quartblog: Command, folder: Path) -> None:
    commands = (
        ("db", "upgrade"),
        ("user", "create", "eve", "--email", "eve@example.org", "--password-stdin"),
        ("errors", "list"),
        ("delivery", "outbox"),
        ("backup", "copy"),
    )
    quartblog("db", "upgrade")
    outbox = Outbox(OutboxOptions(folder / "instance" / "outbox.sqlite3"))
    outbox.groups()
    outbox.close()
    for one in (folder, folder / "instance"):
        one.chmod(0o777)
    before = {one: one.stat().st_mtime_ns for one in folder.rglob("*") if one.is_file()}

    said = run_as(SOMEBODY, *commands).splitlines()

    assert said[1::2] == ["1"] * len(commands)
    for line in said[::2]:
        assert "belongs to the user nobody: run this command as that user, or as root" in line
    assert {one: one.stat().st_mtime_ns for one in folder.rglob("*") if one.is_file()} == before
