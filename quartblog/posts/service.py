"""Typed values -> new posts, and pages of the timeline as rows; no HTTP, no commit."""

from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from quartblog.models import Post, User

PAGE_SIZE = 20


class Entry(NamedTuple):
    """A post as a page shows it."""

    id: int
    author: str
    """The author's username."""
    body: str
    created_at: datetime


class Page(NamedTuple):
    """Posts, newest first, and the keys of the adjacent pages, None at an end."""

    posts: tuple[Entry, ...]
    older: int | None
    """The id that the older page's posts are before."""
    newer: int | None
    """The id that the newer page's posts are after."""


async def publish(session: AsyncSession, author_id: int, body: str) -> Post:
    """Add a post; a database constraint requires 1 to 140 characters."""
    post = Post(author_id=author_id, body=body, created_at=datetime.now(UTC))
    session.add(post)
    await session.flush()
    return post


async def timeline(
    connection: AsyncConnection, *, before: int | None = None, after: int | None = None, author_id: int | None = None
) -> Page:
    """Return one page of all posts, or of one author's: with ids above `after`, else below `before`, else the newest.

    Pages go by key, not by offset: new posts do not shift a page, and the last page costs as much as the first. Where
    no post has such an id, it is the page of the newest.
    """
    upwards = after is not None
    key = after if upwards else before
    statement = _statement(upwards=upwards, bounded=key is not None, by_author=author_id is not None)
    found = [Entry._make(row) for row in await connection.execute(statement, {"key": key, "author_id": author_id})]
    more = len(found) > PAGE_SIZE
    posts = tuple(found[:PAGE_SIZE][:: -1 if upwards else 1])
    if not posts:
        return Page((), older=None, newer=None) if key is None else await timeline(connection, author_id=author_id)
    has_older, has_newer = (True, more) if upwards else (more, before is not None)
    return Page(
        posts,
        older=posts[-1].id if has_older else None,
        newer=posts[0].id if has_newer else None,
    )


@cache
def _statement(*, upwards: bool, bounded: bool, by_author: bool) -> Select[int, str, str, datetime]:
    """Build the statement of a kind of page once: SQLAlchemy takes longer to build it than SQLite to run it."""
    statement = select(Post.id, User.username, Post.body, Post.created_at).join(Post.author).limit(PAGE_SIZE + 1)
    statement = statement.order_by(Post.id.asc() if upwards else Post.id.desc())
    if by_author:
        statement = statement.where(Post.author_id == bindparam("author_id"))
    if bounded:
        statement = statement.where(Post.id > bindparam("key") if upwards else Post.id < bindparam("key"))
    return statement
