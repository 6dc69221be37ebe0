"""Fixtures for most tests: settings in a temporary folder, a running app, accounts, visitors."""

import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import count
from pathlib import Path
from typing import cast

import pytest
from jinja2 import FileSystemBytecodeCache
from quart import Quart
from sqlalchemy import event
from werkzeug.routing import Rule

from quartblog import migrations
from quartblog.app import create_app
from quartblog.auth import passwords, service
from quartblog.database import EXTENSION, Database
from quartblog.models import User
from quartblog.settings import Settings
from tests.support.browsing import PASSWORD, Configuration, Serve, Visitor
from tests.support.log_file import LogFile
from tests.support.postgres import Cluster

_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of the app run on another database."""
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="the blog's database in tests that use an app (default: sqlite)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about SQLite alone when the tests run on another database."""
    if config.getoption("--database") != "sqlite":
        for item in items:
            if "sqlite" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="it is about SQLite"))


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """Let `-n auto` start one worker more than there are processors, because some tests do nothing but wait.

    Tests with real servers keep all processors busy by themselves.
    """
    found = yield
    is_chosen = "not server" not in config.option.markexpr or "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ
    return found if is_chosen else found + 1


@pytest.fixture(autouse=True)
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords with little work; the real cost is 0.1 s each."""
    monkeypatch.setattr(passwords, "METHOD", "scrypt:256:8:1")


@pytest.fixture(autouse=True)
def as_found() -> Iterator[None]:
    """Fail a test that leaves a handler on the root logger."""
    before = list(logging.root.handlers)
    # Quart sets the level for an app in debug mode, and does not restore it.
    level = logging.getLogger("quartblog").level
    yield
    logging.getLogger("quartblog").setLevel(level)
    assert logging.root.handlers == before


@pytest.fixture(autouse=True, scope="session")
def rules_compiled_once() -> Iterator[None]:
    """Compile each URL rule once, because Werkzeug compiles all of them for each app: most of what building one takes.

    The compiled function depends on the rule's text alone; it finds converters and map by way of its argument.
    """
    compile_builder = Rule._compile_builder
    kept: dict[object, Callable[..., tuple[str, str]]] = {}

    def once(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:  # noqa: FBT001, FBT002
        key = (rule.rule, tuple(rule._trace), repr(rule.defaults), append_unknown)
        return kept.get(key) or kept.setdefault(key, compile_builder(rule, append_unknown))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", once)
        yield


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy, because a migration takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "quartblog.sqlite3"
    migrations.upgrade(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running PostgreSQL, one for each worker process of pytest."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    """The name of a migrated PostgreSQL database to copy, because a migration takes longer than most tests."""
    migrations.upgrade(cluster.create("migrated"))
    return "migrated"


@pytest.fixture
def database_name(cluster: Cluster) -> Iterator[str]:
    """A name for a PostgreSQL database of the test's own; what was made under it is removed."""
    name = f"quartblog{next(_numbers)}"
    yield name
    cluster.drop(name)


@pytest.fixture
def postgres_url(cluster: Cluster, template: str, database_name: str) -> str:
    """A fresh PostgreSQL database with all tables."""
    return cluster.create(database_name, template)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> str:
    """A fresh database with all tables: SQLite, or what `--database` says."""
    if request.config.getoption("--database") == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    path = tmp_path / "quartblog.sqlite3"
    shutil.copy(empty_database, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def configuration(tmp_path: Path, database_url: str) -> Configuration:
    """The settings that tests change; every other key keeps its default."""
    return {
        "site": {},
        "database": {"url": database_url},
        "security": {"secret_key": "a key for the tests, 32 characters or more"},
        "mail": {},
        "logging": {"directory": tmp_path / "logs"},
        "delivery": {"outbox": tmp_path / "outbox.sqlite3"},
        "operations": {},
        "errors": {"rehearsal_route": True},
    }


@pytest.fixture
def settings(configuration: Configuration) -> Settings:
    """The default settings, with all files in the test's folder."""
    return Settings.model_validate(configuration)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Compiled templates, because compiling them took a third of the time of all page tests."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
async def app(settings: Settings, compiled: FileSystemBytecodeCache) -> AsyncIterator[Quart]:
    """The app, serving."""
    app = create_app(settings)
    app.jinja_env.bytecode_cache = compiled
    async with app.test_app():
        yield app


@pytest.fixture
async def serve(configuration: Configuration, compiled: FileSystemBytecodeCache) -> AsyncIterator[Serve]:
    """Start another app on the same files with changed keys: `await serve(site={"registration": False})`."""
    async with AsyncExitStack() as running:

        async def serve(**sections: dict[str, object]) -> Quart:
            changed = {name: {**section, **sections.get(name, {})} for name, section in configuration.items()}
            app = create_app(Settings.model_validate(changed))
            app.jinja_env.bytecode_cache = compiled
            await running.enter_async_context(cast("AbstractAsyncContextManager[object]", app.test_app()))
            return app

        yield serve


@pytest.fixture
def log(app: Quart, settings: Settings) -> LogFile:
    """The app's log file."""
    return LogFile(app, settings.logging.directory / settings.logging.filename)


@pytest.fixture
def database(app: Quart) -> Database:
    """The app's database."""
    found: Database = app.extensions[EXTENSION]
    return found


@pytest.fixture
def visitor(app: Quart) -> Visitor:
    """An anonymous visitor whose browser asks for Chinese."""
    return Visitor(app, Accept_Language="zh-CN,zh;q=0.9")


@pytest.fixture
async def ada(database: Database) -> User:
    """An account."""
    return await _account(database, "ada")


@pytest.fixture
async def grace(database: Database) -> User:
    """Another account."""
    return await _account(database, "grace")


@pytest.fixture
def sign_in(app: Quart) -> Callable[[User], Awaitable[Visitor]]:
    """Sign a user in through the form and return the browser."""

    async def sign_in(user: User) -> Visitor:
        visitor = Visitor(app, Accept_Language="zh-CN,zh;q=0.9")
        answer = await visitor.submit("/login", username=user.username, password=PASSWORD)
        assert answer.status == 302, answer.text
        return visitor

    return sign_in


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """Every SQL statement sent during the test, in order."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def _account(database: Database, username: str) -> User:
    password_hash = await passwords.hash_password(PASSWORD)
    async with database.transaction() as session:
        return await service.register(session, username, f"{username}@example.com", password_hash)
