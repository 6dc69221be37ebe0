"""The same app on a real PostgreSQL: one server a worker process, one database a test."""

import pytest


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """A fresh PostgreSQL database with all tables."""
    return postgres_url
