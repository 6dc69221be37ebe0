"""The database does not answer: the visitor waits, the operator acts, and then it goes on by itself."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from quart import Quart

from quartblog.database import EXTENSION, Database
from quartblog.models import User
from tests.support.browsing import Page, Serve, SignIn, Visitor
from tests.support.log_file import LogFile

# PostgreSQL goes away in tests/postgres/test_outages.py.
pytestmark = pytest.mark.sqlite


@pytest.fixture
def file(tmp_path: Path, database_url: str) -> Path:
    """The database's file."""
    return tmp_path / "quartblog.sqlite3"


@contextmanager
def gone(file: Path, instead: str) -> Iterator[None]:
    """Put something else in the file's place."""
    kept = file.with_suffix(".kept")
    file.rename(kept)
    if instead == "a folder":
        file.mkdir()
    else:
        file.write_bytes(b"this is no database, whatever its name says" * 100)
    yield
    if instead == "a folder":
        file.rmdir()
    kept.rename(file)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let another program write."""
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


def assert_told_to_wait(page: Page, log: LogFile) -> None:
    assert page.status == 503
    assert page.headers["Retry-After"] == "10"
    assert "服务暂时不可用" in page.text
    assert page.headers["X-Error-Id"] in page.text
    assert log.failure().endswith(f"[id {page.headers['X-Error-Id']}]")


@pytest.mark.parametrize("instead", ["a folder", "something else"])
async def test_a_lost_file_is_a_503_until_it_is_back(
    *, ada: User, visitor: Visitor, database: Database, log: LogFile, file: Path, instead: str
) -> None:
    await database.close()
    with gone(file, instead):
        page = await visitor.get("/")
        assert (await visitor.get("/login")).status == 200
        assert (await visitor.get("/nowhere")).status == 404

    assert_told_to_wait(page, log)
    assert (await visitor.get("/user/info/ada")).status == 200


async def test_who_was_signed_in_still_is_when_it_is_back(
    ada: User, sign_in: SignIn, database: Database, file: Path
) -> None:
    visitor = await sign_in(ada)
    await database.close()
    with gone(file, "a folder"):
        assert (await visitor.get("/user/edit")).status == 503
        assert (await visitor.get("/logout")).status == 503

    assert (await visitor.get("/user/edit")).status == 200


async def test_a_write_that_never_gets_its_turn_is_a_503(
    *,
    ada: User,
    sign_in: SignIn,
    database: Database,
    log: LogFile,
    file: Path,
) -> None:
    visitor = await sign_in(ada)
    await database.close()
    database.busy_timeout = 0.001
    with locked(file):
        assert (await visitor.get("/")).status == 200
        page = await visitor.submit("/", body="hello")

    assert_told_to_wait(page, log)
    assert (await visitor.submit("/", body="hello")).status == 302


async def test_without_a_free_connection_the_answer_comes_soon(serve: Serve, ada: User) -> None:
    app = await serve(database={"pool_size": 1, "pool_timeout": 0.01})
    visitor = Visitor(app, Accept_Language="zh")
    database: Database = app.extensions[EXTENSION]

    async with database.reading():
        page = await visitor.get("/")

    assert page.status == 503
    assert page.headers["Retry-After"] == "10"
    assert (await visitor.get("/")).status == 200


async def test_the_site_starts_without_its_database_and_finds_it_later(
    serve: Serve, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with gone(file, "a folder"):
        app = await serve()
        visitor = Visitor(app)
        assert (await visitor.get("/")).status == 503
        assert (await visitor.get("/readyz")).status == 503

    assert (await visitor.get("/")).status == 200
    assert (await visitor.get("/readyz")).status == 200
    starts = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert starts[0] == "The database does not answer at the start"


async def test_a_wrong_statement_is_a_bug_and_not_an_outage(app: Quart, file: Path, visitor: Visitor) -> None:
    connection = sqlite3.connect(file)
    connection.execute("DROP TABLE posts")
    connection.close()

    assert (await visitor.get("/")).status == 500
