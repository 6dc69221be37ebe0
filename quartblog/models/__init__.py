"""The tables. Alembic's one import: with only some of them loaded, SQLAlchemy cannot resolve the relationships."""

from quartblog.models.login import Login
from quartblog.models.post import Post
from quartblog.models.user import User

__all__ = ["Login", "Post", "User"]
