"""All tables. Alembic imports this module: SQLAlchemy resolves relationships only when every table is loaded."""

from quartblog.database import Base
from quartblog.models.login import Login
from quartblog.models.post import Post
from quartblog.models.user import User

__all__ = ["TABLES", "Login", "Post", "User"]

TABLES = Base.metadata.sorted_tables
"""All tables, each after those that it refers to."""
