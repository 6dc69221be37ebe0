"""Accounts and logins: rules on a session, no HTTP, no commit."""

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

# A visitor who did not ask to be remembered: the cookie ends with the browser, the row with the day.
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
    """Write the account and name what refused it: UsernameTaken or EmailTaken."""
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
    """The account with this name in any spelling, None where there is none."""
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
    """Add a login and return its token, which is kept nowhere else. Logins of the past are cleared away.

    Raise WrongCredentials where the account is gone, or its password another one, since `user` was loaded.
    """
    now = datetime.now(UTC)
    token = secrets.token_urlsafe(32)
    # Checking the password took a while; an old one must not outlive its change by a login that began before.
    unchanged = (User.id == user.id) & (User.password_hash == user.password_hash)
    if await session.scalar(update(User).where(unchanged).values(last_seen=now).returning(User.id)) is None:
        raise WrongCredentials
    await session.execute(delete(Login).where(Login.expires_at <= now))
    session.add(Login(token_digest=_digest(token), user_id=user.id, created_at=now, expires_at=now + lasts))
    return token


async def end_login(session: AsyncSession, token: str) -> None:
    """Delete the row behind the token; ending what has ended is fine."""
    await session.execute(delete(Login).where(Login.token_digest == _digest(token)))


async def by_token(session: AsyncSession, token: str) -> User | None:
    """Who holds this token, None where the login has ended or expired."""
    login = await session.scalar(
        select(Login)
        .where(Login.token_digest == _digest(token), Login.expires_at > datetime.now(UTC))
        .options(joinedload(Login.user, innerjoin=True))
    )
    return None if login is None else login.user


async def touch(session: AsyncSession, user_id: int) -> None:
    """Note that the person was here just now."""
    await session.execute(update(User).where(User.id == user_id).values(last_seen=datetime.now(UTC)))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
