"""Which rule refused a row, as PostgreSQL names it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from quartblog.database import Base, Database, violated_constraint
from quartblog.models import Login, Post, User

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def user(**values: Any) -> User:
    names = {"username": "eve", "username_key": "eve", "email": "eve@example.com"}
    rest = {"password_hash": "hash", "about_me": "", "is_admin": False, "created_at": NOW, "last_seen": NOW}
    return User(**{**names, **rest, **values})


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (lambda ada: user(username_key="ada"), "uq_users_username_key"),
        (lambda ada: user(email="ada@example.com"), "uq_users_email"),
        (lambda ada: Post(author_id=ada.id, body="", created_at=NOW), "ck_posts_body_length"),
        (lambda ada: Post(author_id=ada.id + 1, body="body", created_at=NOW), "fk_posts_author_id"),
        (
            lambda ada: Login(
                user_id=ada.id + 1,
                token_digest="d",
                created_at=NOW,
                expires_at=NOW,
                last_used_at=NOW,
                browser="",
                address="",
            ),
            "fk_logins_user_id",
        ),
        (lambda ada: user(id=ada.id), "pk_users"),
        (lambda ada: user(email=None), None),
    ],
)
async def test_a_violation_is_named_by_its_rule(ada: User, database: Database, row: Any, rule: str | None) -> None:
    assert await _violated(database, row(ada)) == rule


async def test_a_login_token_is_unique(ada: User, database: Database) -> None:
    def login() -> Login:
        return Login(
            user_id=ada.id, token_digest="d", created_at=NOW, expires_at=NOW, last_used_at=NOW, browser="", address=""
        )

    assert await _violated(database, login(), login()) == "uq_logins_token_digest"


async def test_a_deleted_account_takes_its_posts_and_logins_along(ada: User, database: Database) -> None:
    async with database.transaction() as session:
        session.add(Post(author_id=ada.id, body="body", created_at=NOW))
        session.add(
            Login(
                user_id=ada.id,
                token_digest="d",
                created_at=NOW,
                expires_at=NOW,
                last_used_at=NOW,
                browser="",
                address="",
            )
        )
    async with database.transaction() as session:
        await session.execute(delete(User).where(User.id == ada.id))

    async with database.transaction() as session:
        for table in Base.metadata.tables.values():
            assert (await session.execute(select(table))).all() == []


async def _violated(database: Database, *rows: Base) -> str | None:
    with pytest.raises(IntegrityError) as caught:
        async with database.transaction() as session:
            session.add_all(rows)
    return violated_constraint(caught.value)
