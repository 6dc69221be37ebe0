"""Typed values -> a person's account, or its change; no HTTP, no commit."""

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from quartblog.auth.service import Account, by_username, naming_what_is_taken
from quartblog.auth.usernames import display_form, username_key
from quartblog.errors.exceptions import NoSuchUser
from quartblog.models import User

# Of the table, not of the class: the session would look for loaded objects to change, which takes it longer than the
# whole statement.
_USERS = User.metadata.tables["users"]
_EDIT = (
    update(_USERS)
    .where(_USERS.c.id == bindparam("user_id"))
    .values(username=bindparam("name"), username_key=bindparam("key"), about_me=bindparam("text"))
    .returning(_USERS.c.id)
)


async def person(connection: AsyncConnection, username: str) -> Account:
    """Return the account with this name in any spelling. Raise NoSuchUser."""
    account = await by_username(connection, username)
    if account is None:
        raise NoSuchUser
    return account


async def edit(session: AsyncSession, user_id: int, username: str, about_me: str) -> None:
    """Change name and text. Raise UsernameTaken, InvalidUsername, or NoSuchUser if the account was deleted."""
    name, key = display_form(username), username_key(username)
    async with naming_what_is_taken():
        found = await session.scalar(_EDIT, {"user_id": user_id, "name": name, "key": key, "text": about_me})
    if found is None:
        raise NoSuchUser
