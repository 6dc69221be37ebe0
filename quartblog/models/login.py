"""The table of logins: the row behind a visitor's cookie."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quartblog.database import Base, UtcDateTime
from quartblog.models.user import User

BROWSER_MAX = 200


class Login(Base):
    """One signed-in browser. Deleting the row ends the login, whatever cookie the browser still sends.

    A login ends at `expires_at`, and earlier if nobody has used it for `[security] idle_days`.

    The row stores only the token's SHA-256, so that a copy of the database signs nobody in.
    """

    __tablename__ = "logins"
    __table_args__ = (
        Index("uq_logins_token_digest", "token_digest", unique=True),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token_digest: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """At most five minutes older than the last page."""
    browser: Mapped[str] = mapped_column(String(BROWSER_MAX))
    """The start of its User-Agent, for its owner to know it by."""
    address: Mapped[str] = mapped_column(String(64))
    """Where it was used last; "" where `[security] log_addresses` says that nobody keeps it."""

    user: Mapped[User] = relationship(lazy="raise")
