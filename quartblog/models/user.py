"""The table of accounts."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from quartblog.database import Base, UtcDateTime

ABOUT_ME_MAX = 140


class User(Base):
    """One account. `username` is the name as shown; `username_key` is its folded form, which must be unique."""

    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_username_key", "username_key", unique=True),
        Index("uq_users_email", "email", unique=True),
        CheckConstraint(f"length(about_me) <= {ABOUT_ME_MAX}", name="about_me_length"),
        # Without this option SQLite gives the id of a deleted account to the next one.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64))
    username_key: Mapped[str] = mapped_column(String(64))
    email: Mapped[str] = mapped_column(String(254))
    password_hash: Mapped[str] = mapped_column(String(255))
    about_me: Mapped[str] = mapped_column(String(ABOUT_ME_MAX), default="")
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen: Mapped[datetime] = mapped_column(UtcDateTime)
