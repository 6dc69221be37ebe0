"""Typed values -> changed accounts and logins, and accounts as rows; no HTTP, no commit."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from quartblog.auth.usernames import display_form, username_key
from quartblog.database import violated_constraint
from quartblog.errors.exceptions import EmailTaken, InvalidUsername, UsernameTaken, WrongCredentials
from quartblog.models import Login, User

# The lifetime of a login row without "remember me"; its cookie ends with the browser session.
UNREMEMBERED = timedelta(days=1)


class Account(NamedTuple):
    """An account as pages show it."""

    id: int
    username: str
    about_me: str
    last_seen: datetime


class SignedIn(NamedTuple):
    """The account behind a login, and the login."""

    id: int
    username: str
    about_me: str
    last_seen: datetime
    is_admin: bool
    login_id: int
    login_used: datetime


class Device(NamedTuple):
    """What a login notes of a browser."""

    browser: str
    address: str


class Secret(NamedTuple):
    """What the check of a password needs."""

    user_id: int
    password_hash: str


UNKNOWN = Device("", "")
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_ACCOUNTS = select(User.id, User.username, User.about_me, User.last_seen)
_BY_KEY = _ACCOUNTS.where(User.username_key == bindparam("key"))
_BY_TOKEN = (
    _ACCOUNTS.add_columns(User.is_admin, Login.id, Login.last_used_at)
    .join(Login, Login.user_id == User.id)
    .where(
        Login.token_digest == bindparam("digest"),
        Login.expires_at > bindparam("now"),
        Login.last_used_at > bindparam("idle"),
    )
)
_SECRETS = select(User.id, User.password_hash).where(User.username_key == bindparam("key"))


async def register(session: AsyncSession, username: str, email: str, password_hash: str) -> User:
    """Add an account. Raise UsernameTaken, EmailTaken or InvalidUsername."""
    now = datetime.now(UTC)
    user = User(
        username=display_form(username),
        username_key=username_key(username),
        email=email.lower(),
        password_hash=password_hash,
        about_me="",
        is_admin=False,
        created_at=now,
        last_seen=now,
    )
    session.add(user)
    async with naming_what_is_taken():
        await session.flush()
    return user


@asynccontextmanager
async def naming_what_is_taken() -> AsyncIterator[None]:
    """Raise UsernameTaken or EmailTaken for the unique index that refused an account in this block."""
    # The unique index decides, not a SELECT: two requests may race.
    try:
        yield
    except IntegrityError as error:
        match violated_constraint(error):
            case "uq_users_username_key":
                raise UsernameTaken from error
            case "uq_users_email":
                raise EmailTaken from error
        raise


async def by_username(connection: AsyncConnection | AsyncSession, username: str) -> Account | None:
    """Return the account with this name in any spelling, or None."""
    if (key := _key(username)) is None:
        return None
    row = (await connection.execute(_BY_KEY, {"key": key})).one_or_none()
    return None if row is None else Account._make(row)


async def secret(connection: AsyncConnection | AsyncSession, username: str) -> Secret | None:
    """Return the password hash of the account with this name in any spelling, or None."""
    if (key := _key(username)) is None:
        return None
    row = (await connection.execute(_SECRETS, {"key": key})).one_or_none()
    return None if row is None else Secret._make(row)


async def set_admin(session: AsyncSession, user_id: int, *, admin: bool) -> None:
    """Make the account an administrator, or remove the right."""
    await session.execute(update(User).where(User.id == user_id).values(is_admin=admin))


async def change_password(session: AsyncSession, user_id: int, password_hash: str, keep: int | None = None) -> None:
    """Set the password and end every login of the account, but the one with the id `keep`."""
    await session.execute(update(User).where(User.id == user_id).values(password_hash=password_hash))
    ended = delete(Login).where(Login.user_id == user_id)
    await session.execute(ended if keep is None else ended.where(Login.id != keep))


async def begin_login(
    session: AsyncSession, checked: Secret, lasts: timedelta = UNREMEMBERED, device: Device = UNKNOWN
) -> str:
    """Add a login and return its token, which the database does not store. Delete expired logins.

    Raise WrongCredentials if the account was deleted or its password changed after `checked` was read.
    """
    now = datetime.now(UTC)
    token = secrets.token_urlsafe(32)
    # The check of the password took a while: a changed password must not leave a login made with the old one.
    unchanged = (User.id == checked.user_id) & (User.password_hash == checked.password_hash)
    if await session.scalar(update(User).where(unchanged).values(last_seen=now).returning(User.id)) is None:
        raise WrongCredentials
    await session.execute(delete(Login).where(Login.expires_at <= now))
    session.add(
        Login(
            token_digest=_digest(token),
            user_id=checked.user_id,
            created_at=now,
            expires_at=now + lasts,
            last_used_at=now,
            browser=device.browser,
            address=device.address,
        )
    )
    return token


async def end_login(session: AsyncSession, token: str) -> None:
    """Delete the login of the token; do nothing if it has ended already."""
    await session.execute(delete(Login).where(Login.token_digest == _digest(token)))


async def by_token(
    connection: AsyncConnection | AsyncSession, token: str, idle: timedelta = timedelta.max
) -> SignedIn | None:
    """Return the account of this token; None if the login has ended, expired, or was not used within `idle`."""
    now = datetime.now(UTC)
    since = now - idle if idle < now - _EARLIEST else _EARLIEST
    values = {"digest": _digest(token), "now": now, "idle": since}
    row = (await connection.execute(_BY_TOKEN, values)).one_or_none()
    return None if row is None else SignedIn._make(row)


async def touch(session: AsyncSession, user: SignedIn, device: Device) -> None:
    """Note that the user is here now, with this login."""
    now = datetime.now(UTC)
    await session.execute(update(User).where(User.id == user.id).values(last_seen=now))
    used = {"last_used_at": now, "browser": device.browser, "address": device.address}
    await session.execute(update(Login).where(Login.id == user.login_id).values(used))


def _key(username: str) -> str | None:
    try:
        return username_key(username)
    except InvalidUsername:
        return None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
