"""`quartblog user`: accounts made and changed on the machine itself."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import select

from quartblog.auth import service
from quartblog.auth.passwords import verify_password
from quartblog.auth.usernames import username_key
from quartblog.database import Database
from quartblog.models import User
from tests.support.processes import ROOT, environment

Command = Callable[..., Result]
Account = Callable[[str], User | None]


@pytest.fixture
def quartblog(quartblog: Command, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, with a database that has its tables."""
    monkeypatch.setenv("QUARTBLOG_DATABASE__URL", database_url)
    return quartblog


@pytest.fixture
def account(database_url: str) -> Account:
    """Look an account up in the database."""

    async def look_up(name: str) -> User | None:
        database = Database(database_url)
        try:
            async with database.transaction() as session:
                return await session.scalar(select(User).where(User.username_key == username_key(name)))
        finally:
            await database.close()

    return lambda name: asyncio.run(look_up(name))


@pytest.fixture
def ada(quartblog: Command) -> None:
    """Somebody with an account."""
    result = quartblog("user", "create", "ada", "--email", "ada@example.org", "--password-stdin", typed="lovelace\n")
    assert result.exit_code == 0


def has_password(user: User | None, password: str) -> bool:
    assert user is not None
    return asyncio.run(verify_password(user.password_hash, password))


def test_an_account_is_made_with_the_password_that_was_typed_twice(quartblog: Command, account: Account) -> None:
    result = quartblog("user", "create", "Ada", "--email", "Ada@Example.org", typed="lovelace\nlovelace\n")

    assert (result.exit_code, result.stdout) == (0, "Created the account Ada\n")
    assert "lovelace" not in result.output
    ada = account("ada")
    assert ada is not None
    assert (ada.username, ada.email, ada.is_admin) == ("Ada", "ada@example.org", False)
    assert has_password(ada, "lovelace")


def test_two_passwords_that_differ_are_asked_for_again(quartblog: Command, account: Account) -> None:
    typed = "lovelace\nlovelaec\nbyron\nbyron\n"

    assert quartblog("user", "create", "ada", "--email", "ada@example.org", typed=typed).exit_code == 0
    assert has_password(account("ada"), "byron")


def test_without_a_terminal_a_password_is_not_asked_for(folder: Path) -> None:
    (folder / "config.toml").touch()
    command = [sys.executable, "-m", "quartblog.cli", "user", "create", "ada", "--email", "ada@example.org"]

    # Without a terminal of its own it cannot ask the one of whoever runs the tests either.
    done = subprocess.run(
        command,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )

    assert done.returncode == 2
    assert "no terminal for the prompt: pass the password with --password-stdin" in done.stderr
    assert "Warning" not in done.stderr


def test_a_password_from_standard_input_is_its_first_line(quartblog: Command, account: Account) -> None:
    typed = " spaces count \nthe rest does not\n"

    result = quartblog("user", "create", "ada", "--email", "ada@example.org", "--password-stdin", typed=typed)

    assert result.exit_code == 0
    assert has_password(account("ada"), " spaces count ")


def test_an_administrator_is_made_at_once(quartblog: Command, account: Account) -> None:
    arguments = ("user", "create", "ada", "--email", "ada@example.org", "--admin", "--password-stdin")

    assert quartblog(*arguments, typed="lovelace").stdout == "Created the account ada, an administrator\n"
    ada = account("ada")
    assert ada is not None
    assert ada.is_admin


@pytest.mark.parametrize(
    ("name", "email", "message"),
    [
        ("ADA", "other@example.org", "the name ADA is taken"),
        ("grace", "ADA@example.org", "another account has the address ADA@example.org"),
        ("a b", "other@example.org", "'a b' is not a valid name: "),
    ],
)
def test_an_account_that_cannot_be_is_one_clear_line(
    quartblog: Command, ada: None, name: str, email: str, message: str
) -> None:
    result = quartblog("user", "create", name, "--email", email, "--password-stdin", typed="hopper")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("email", "password", "message"),
    [
        ("ada", "lovelace", "Invalid value for '--email': An email address must have an @-sign."),
        ("ada@example.org", "", "the password must have 1 to 256 characters"),
        ("ada@example.org", "x" * 257, "the password must have 1 to 256 characters"),
    ],
)
def test_what_was_typed_wrongly_is_told(
    quartblog: Command, account: Account, email: str, password: str, message: str
) -> None:
    result = quartblog("user", "create", "ada", "--email", email, "--password-stdin", typed=password)

    assert result.exit_code == 2
    assert message in result.stderr
    assert account("ada") is None


def test_the_right_of_an_administrator_is_given_and_taken(quartblog: Command, ada: None, account: Account) -> None:
    given = quartblog("user", "admin", "Ada")
    was_admin = account("ada")
    taken = quartblog("user", "admin", "Ada", "--revoke")
    is_admin = account("ada")

    assert (given.stdout, taken.stdout) == ("Ada is now an administrator\n", "Ada is no longer an administrator\n")
    assert was_admin is not None
    assert is_admin is not None
    assert (was_admin.is_admin, is_admin.is_admin) == (True, False)


def test_what_an_administrator_may_see_without_the_database_ends_too(quartblog: Command, ada: None) -> None:
    folder = Path("instance")
    folder.mkdir(exist_ok=True)
    quartblog("user", "admin", "ada")
    assert not list(folder.glob("operations-ended-*"))

    quartblog("user", "admin", "ada", "--revoke")
    [noted] = folder.glob("operations-ended-*")
    noted.unlink()
    quartblog("user", "password", "ada", "--password-stdin", typed="something new\n")

    assert noted.exists()


def test_a_new_password_signs_the_account_out_everywhere(
    quartblog: Command, ada: None, account: Account, database_url: str
) -> None:
    token = asyncio.run(sign_in(database_url, "ada"))

    result = quartblog("user", "password", "ada", "--password-stdin", typed="byron")

    assert result.stdout == "ada has a new password and is signed out everywhere\n"
    assert has_password(account("ada"), "byron")
    assert not asyncio.run(is_signed_in(database_url, token))


@pytest.mark.parametrize("command", [("admin",), ("password", "--password-stdin")], ids=" ".join)
def test_a_name_that_nobody_has_is_one_clear_line(quartblog: Command, command: tuple[str, ...]) -> None:
    result = quartblog("user", *command, "nobody", typed="lovelace")

    assert (result.exit_code, result.stderr) == (1, "Error: no account has the name nobody\n")


def test_without_a_database_the_command_says_how_to_make_one(quartblog: Command, folder: Path) -> None:
    result = quartblog("user", "admin", "ada", QUARTBLOG_DATABASE__URL="sqlite+aiosqlite:///new.sqlite3")

    assert result.exit_code == 1
    assert result.stderr == "Error: new.sqlite3: the database does not exist yet: run `quartblog db upgrade`\n"
    assert not (folder / "new.sqlite3").exists()


def test_tables_of_an_earlier_version_are_left_alone(quartblog: Command, folder: Path) -> None:
    (folder / "empty.sqlite3").touch()

    result = quartblog("user", "admin", "ada", QUARTBLOG_DATABASE__URL="sqlite+aiosqlite:///empty.sqlite3")

    assert result.exit_code == 1
    assert "run `quartblog db upgrade`" in result.stderr


async def sign_in(url: str, name: str) -> str:
    database = Database(url)
    try:
        async with database.transaction() as session:
            secret = await service.secret(session, name)
            assert secret is not None
            return await service.begin_login(session, secret, timedelta(days=1))
    finally:
        await database.close()


async def is_signed_in(url: str, token: str) -> bool:
    database = Database(url)
    try:
        async with database.transaction() as session:
            return await service.by_token(session, token) is not None
    finally:
        await database.close()
