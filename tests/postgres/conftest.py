"""The same app on a real PostgreSQL: one server a worker process, one database a test."""

from collections.abc import Iterator
from itertools import count

import pytest

from quartblog import migrations
from tests.support.postgres import Cluster

_numbers = count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running server."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    """The name of a migrated database to copy: migrating takes longer than most tests."""
    migrations.upgrade(cluster.create("migrated"))
    return "migrated"


@pytest.fixture
def database_name(cluster: Cluster) -> Iterator[str]:
    """A name for a database of the test's own; what was made under it is removed."""
    name = f"quartblog{next(_numbers)}"
    yield name
    cluster.drop(name)


@pytest.fixture
def database_url(cluster: Cluster, template: str, database_name: str) -> str:
    """A fresh PostgreSQL database with all tables."""
    return cluster.create(database_name, template)
