"""Typed values -> one's own account: its logins, and a new password; no HTTP, no commit."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from quartblog.models import Login, User


class Session(NamedTuple):
    """A browser that is signed in."""

    id: int
    browser: str
    """The start of its User-Agent."""
    address: str
    began: datetime
    used: datetime


class Account(NamedTuple):
    """What one's own page shows of the account."""

    email: str
    password_hash: str


_SESSIONS = (
    select(Login.id, Login.browser, Login.address, Login.created_at, Login.last_used_at)
    .where(
        Login.user_id == bindparam("user_id"),
        Login.expires_at > bindparam("now"),
        Login.last_used_at > bindparam("idle"),
    )
    .order_by(Login.last_used_at.desc(), Login.id.desc())
    .limit(bindparam("most"))
)
_ACCOUNT = select(User.email, User.password_hash).where(User.id == bindparam("user_id"))
MOST = 100
"""Sessions that the page shows; "end all others" ends every one."""


async def account(connection: AsyncConnection, user_id: int) -> Account:
    """Return what the page shows beside the name."""
    return Account._make((await connection.execute(_ACCOUNT, {"user_id": user_id})).one())


async def sessions(connection: AsyncConnection, user_id: int, idle: timedelta) -> list[Session]:
    """Return the account's logins that still count, the one used last first."""
    now = datetime.now(UTC)
    values = {"user_id": user_id, "now": now, "idle": now - idle, "most": MOST}
    return [Session._make(row) for row in await connection.execute(_SESSIONS, values)]


async def end_session(session: AsyncSession, user_id: int, login_id: int) -> bool:
    """End one login of the account; return whether there was one."""
    ended = delete(Login).where(Login.user_id == user_id, Login.id == login_id).returning(Login.id)
    return await session.scalar(ended) is not None


async def end_others(session: AsyncSession, user_id: int, login_id: int) -> int:
    """End every login of the account but one; return how many."""
    ended = delete(Login).where(Login.user_id == user_id, Login.id != login_id).returning(Login.id)
    return len((await session.scalars(ended)).all())
