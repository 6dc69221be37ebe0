"""All tables. Alembic imports this module: SQLAlchemy resolves relationships only when every table is loaded."""

from quartblog.models.login import Login
from quartblog.models.post import Post
from quartblog.models.user import User

__all__ = ["Login", "Post", "User"]
