"""Typed values -> a person's account, or its change; no HTTP, no commit."""

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from quartblog.auth.service import Account, by_username, naming_what_is_taken
from quartblog.auth.usernames import display_form, username_key
from quartblog.errors.exceptions import NoSuchUser
from quartblog.models import User


async def person(connection: AsyncConnection, username: str) -> Account:
    """Return the account with this name in any spelling. Raise NoSuchUser."""
    account = await by_username(connection, username)
    if account is None:
        raise NoSuchUser
    return account


async def edit(session: AsyncSession, user_id: int, username: str, about_me: str) -> None:
    """Change name and text. Raise UsernameTaken, InvalidUsername, or NoSuchUser if the account was deleted."""
    changed = {"username": display_form(username), "username_key": username_key(username), "about_me": about_me}
    async with naming_what_is_taken():
        found = await session.scalar(update(User).where(User.id == user_id).values(changed).returning(User.id))
    if found is None:
        raise NoSuchUser
