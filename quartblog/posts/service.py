"""Session and typed values -> new posts and pages of the timeline; no HTTP, no commit."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from quartblog.models import Post

PAGE_SIZE = 20


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a timeline: posts with ids below `before`, else above `after`, else the newest."""

    before: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Posts, newest first. `older` and `newer` are the windows of the adjacent pages, None at an end."""

    posts: list[Post]
    older: Window | None
    newer: Window | None


async def publish(session: AsyncSession, author_id: int, body: str) -> Post:
    """Add a post; a database constraint requires 1 to 140 characters."""
    post = Post(author_id=author_id, body=body, created_at=datetime.now(UTC))
    session.add(post)
    await session.flush()
    return post


async def timeline(session: AsyncSession, window: Window, *, author_id: int | None = None) -> Page:
    """Return one page of all posts, or of one author's, in one statement.

    Pages go by key, not by offset: new posts do not shift a page, and the last page costs as much as the first.
    """
    upwards = window.after is not None
    query = select(Post).options(joinedload(Post.author, innerjoin=True)).limit(PAGE_SIZE + 1)
    query = query.order_by(Post.id.asc() if upwards else Post.id.desc())
    if author_id is not None:
        query = query.where(Post.author_id == author_id)
    if window.after is not None:
        query = query.where(Post.id > window.after)
    elif window.before is not None:
        query = query.where(Post.id < window.before)
    found = list(await session.scalars(query))
    more, posts = len(found) > PAGE_SIZE, found[:PAGE_SIZE]
    if upwards:
        posts.reverse()
    if not posts:
        return Page([], older=None, newer=None)
    has_older, has_newer = (True, more) if upwards else (more, window.before is not None)
    return Page(
        posts,
        older=Window(before=posts[-1].id) if has_older else None,
        newer=Window(after=posts[0].id) if has_newer else None,
    )
