"""Session and typed values -> a user's profile, or its change; no HTTP, no commit."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from quartblog.auth.service import by_username, flush_account
from quartblog.auth.usernames import display_form, username_key
from quartblog.errors.exceptions import NoSuchUser
from quartblog.models import User


async def person(session: AsyncSession, username: str) -> User:
    """Return the user with this name in any spelling. Raise NoSuchUser."""
    user = await by_username(session, username)
    if user is None:
        raise NoSuchUser
    return user


async def edit(session: AsyncSession, user_id: int, username: str, about_me: str) -> None:
    """Change name and text. Raise UsernameTaken, InvalidUsername, or NoSuchUser if the account was deleted."""
    user = await session.scalar(select(User).where(User.id == user_id))
    if user is None:
        raise NoSuchUser
    user.username = display_form(username)
    user.username_key = username_key(username)
    user.about_me = about_me
    await flush_account(session)
