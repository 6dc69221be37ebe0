"""Session and typed values -> changed accounts and logins; no HTTP, no commit."""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from quartblog.auth.usernames import display_form, username_key
from quartblog.database import violated_constraint
from quartblog.errors.exceptions import EmailTaken, InvalidUsername, UsernameTaken, WrongCredentials
from quartblog.models import Login, User

# The lifetime of a login row without "remember me"; its cookie ends with the browser session.
UNREMEMBERED = timedelta(days=1)


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
    await flush_account(session)
    return user


async def flush_account(session: AsyncSession) -> None:
    """Write the account. Raise UsernameTaken or EmailTaken for the unique index that refused it."""
    # The unique index decides, not a SELECT: two requests may race.
    try:
        await session.flush()
    except IntegrityError as error:
        match violated_constraint(error):
            case "uq_users_username_key":
                raise UsernameTaken from error
            case "uq_users_email":
                raise EmailTaken from error
        raise


async def by_username(session: AsyncSession, username: str) -> User | None:
    """Return the account with this name in any spelling, or None."""
    try:
        key = username_key(username)
    except InvalidUsername:
        return None
    return await session.scalar(select(User).where(User.username_key == key))


async def change_password(session: AsyncSession, user: User, password_hash: str) -> None:
    """Set the password and end every login of the account."""
    await session.execute(update(User).where(User.id == user.id).values(password_hash=password_hash))
    await session.execute(delete(Login).where(Login.user_id == user.id))


async def begin_login(session: AsyncSession, user: User, lasts: timedelta = UNREMEMBERED) -> str:
    """Add a login and return its token, which the database does not store. Delete expired logins.

    Raise WrongCredentials if the account was deleted or its password changed after `user` was loaded.
    """
    now = datetime.now(UTC)
    token = secrets.token_urlsafe(32)
    # The check of the password took a while: a changed password must not leave a login made with the old one.
    unchanged = (User.id == user.id) & (User.password_hash == user.password_hash)
    if await session.scalar(update(User).where(unchanged).values(last_seen=now).returning(User.id)) is None:
        raise WrongCredentials
    await session.execute(delete(Login).where(Login.expires_at <= now))
    session.add(Login(token_digest=_digest(token), user_id=user.id, created_at=now, expires_at=now + lasts))
    return token


async def end_login(session: AsyncSession, token: str) -> None:
    """Delete the login of the token; do nothing if it has ended already."""
    await session.execute(delete(Login).where(Login.token_digest == _digest(token)))


async def by_token(session: AsyncSession, token: str) -> User | None:
    """Return the user of this token, or None if the login has ended or expired."""
    login = await session.scalar(
        select(Login)
        .where(Login.token_digest == _digest(token), Login.expires_at > datetime.now(UTC))
        .options(joinedload(Login.user, innerjoin=True))
    )
    return None if login is None else login.user


async def touch(session: AsyncSession, user_id: int) -> None:
    """Set the user's `last_seen` to now."""
    await session.execute(update(User).where(User.id == user_id).values(last_seen=datetime.now(UTC)))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
