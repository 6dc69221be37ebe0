"""`quartblog user`: options and a password -> created or changed accounts in the database."""

from __future__ import annotations

import asyncio
import sys
import warnings
from contextlib import asynccontextmanager
from getpass import GetPassWarning
from typing import TYPE_CHECKING

import click
from email_validator import EmailNotValidError, validate_email

from quartblog import migrations
from quartblog.auth import service
from quartblog.auth.forms import PASSWORD_MAX
from quartblog.auth.passwords import hash_password
from quartblog.cli import ownership
from quartblog.cli.output import json_option, print_json, say
from quartblog.database import Database
from quartblog.delivery import current_scope
from quartblog.errors.exceptions import EmailTaken, InvalidUsername, NoSuchUser, SchemaOutdated, UsernameTaken
from quartblog.operations.keys import end_proofs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncSession

    from quartblog.auth.service import Account
    from quartblog.cli.invocation import Invocation
    from quartblog.settings import Settings


def _address(_context: click.Context, _option: click.Parameter, value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise click.BadParameter(str(error)) from error


password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
)


@click.group("user")
def group() -> None:
    """Manage accounts.

    \b
    Example:
      quartblog user create ada --email ada@example.org --admin
    """


@group.command()
@click.argument("name")
@click.option("--email", required=True, callback=_address, help="The account's e-mail address.")
@click.option("--admin", is_flag=True, help="Make the account an administrator.")
@password_option
@json_option
@click.pass_obj
def create(  # noqa: PLR0913  one for each option
    invocation: Invocation, name: str, email: str, *, admin: bool, password_stdin: bool, as_data: bool
) -> None:
    """Add an account, even if registration is closed. NAME is the username.

    The command asks for the password twice, unless --password-stdin is given.

    \b
    Example:
      quartblog user create ada --email ada@example.org --admin
      pass show blog | quartblog user create ada --email ada@example.org --password-stdin
      pass show blog | quartblog user create ada --email ada@example.org --password-stdin --json | jq -r .name
    """
    settings = invocation.settings()
    stored = asyncio.run(_create(settings, name, email, _password(from_stdin=password_stdin), admin=admin))
    if as_data:
        print_json({"name": stored, "email": email, "admin": admin})
    else:
        say(f"Created the account {name}" + (", an administrator" if admin else ""))


@group.command()
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Remove the right instead.")
@json_option
@click.pass_obj
def admin(invocation: Invocation, name: str, *, revoke: bool, as_data: bool) -> None:
    """Make an account an administrator.

    NAME is the username. Administrators see the operations pages, such as /operations/errors.

    \b
    Example:
      quartblog user admin ada
      quartblog user admin ada --revoke
      quartblog user admin ada --json | jq .admin
    """
    stored = asyncio.run(_set_admin(invocation.settings(), name, admin=not revoke))
    if as_data:
        print_json({"name": stored, "admin": not revoke})
    else:
        say(f"{name} is {'no longer' if revoke else 'now'} an administrator")


@group.command()
@click.argument("name")
@password_option
@json_option
@click.pass_obj
def password(invocation: Invocation, name: str, *, password_stdin: bool, as_data: bool) -> None:
    """Set a new password and sign the account out everywhere.

    NAME is the username. The command asks for the password twice, unless --password-stdin is given.

    \b
    Example:
      quartblog user password ada
      pass show blog | quartblog user password ada --password-stdin --json | jq -r .name
    """
    settings = invocation.settings()
    stored = asyncio.run(_set_password(settings, name, _password(from_stdin=password_stdin)))
    if as_data:
        print_json({"name": stored})
    else:
        say(f"{name} has a new password and is signed out everywhere")


async def _create(settings: Settings, name: str, email: str, password: str, *, admin: bool) -> str:
    """Create the account, and return its name as stored."""
    password_hash = await hash_password(password)
    async with _transaction(settings) as session:
        try:
            account = await service.register(session, name, email, password_hash)
        except UsernameTaken as error:
            raise click.ClickException(f"the name {name} is taken") from error
        except EmailTaken as error:
            raise click.ClickException(f"another account has the address {email}") from error
        except InvalidUsername as error:
            raise click.ClickException(
                f"{name!r} is not a valid name: use letters of one script, digits and _-. with a letter or digit first"
            ) from error
        account.is_admin = admin
        return account.username


async def _set_admin(settings: Settings, name: str, *, admin: bool) -> str:
    async with _transaction(settings) as session:
        account = await _account(session, name)
        await service.set_admin(session, account.id, admin=admin)
    if not admin:
        _end_proofs(settings, account.id)
    return account.username


async def _set_password(settings: Settings, name: str, password: str) -> str:
    password_hash = await hash_password(password)
    async with _transaction(settings) as session:
        account = await _account(session, name)
        await service.change_password(session, account.id, password_hash)
    _end_proofs(settings, account.id)
    return account.username


def _end_proofs(settings: Settings, user_id: int) -> None:
    """Let no browser of the account see the operations pages while the database is away."""
    folder = settings.delivery.outbox.absolute().parent
    if not folder.is_dir():
        return
    try:
        end_proofs(folder, user_id)
    except OSError as error:
        say(
            f"Warning: {folder}: {error.strerror}: a browser of this account that has used the operations pages within"
            " 12 hours still sees them while the database is away",
            err=True,
        )


async def _account(session: AsyncSession, name: str) -> Account:
    account = await service.by_username(session, name)
    if account is None:
        raise NoSuchUser(f"no account has the name {name}")
    return account


@asynccontextmanager
async def _transaction(settings: Settings) -> AsyncIterator[AsyncSession]:
    url = settings.database.url.get_secret_value()
    if (file := migrations.sqlite_file(url)) is not None and not file.exists():
        raise SchemaOutdated(f"{file}: the database does not exist yet: run `quartblog db upgrade`")
    if file is not None:
        ownership.check(file)
    database = Database(url)
    try:
        await migrations.check(database)
        async with database.transaction() as session:
            yield session
    finally:
        await database.close()


def _asked() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
        except GetPassWarning as error:
            raise click.UsageError("no terminal for the prompt: pass the password with --password-stdin") from error


def _password(*, from_stdin: bool) -> str:
    """Prompt twice, or read a line of standard input; other users of the machine could read an argument."""
    typed = sys.stdin.readline().rstrip("\r\n") if from_stdin else _asked()
    if not 0 < len(typed) <= PASSWORD_MAX:
        raise click.UsageError(f"the password must have 1 to {PASSWORD_MAX} characters")
    if (work := current_scope()) is not None:
        work.hide(lambda: [typed])
    return typed
