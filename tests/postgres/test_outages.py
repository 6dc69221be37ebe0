"""The server away, silent, full or interrupted: a page that says so, a record, and no restart of the app afterwards."""

import asyncio
import re
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from quart import Quart
from sqlalchemy import select, text, update
from sqlalchemy.exc import InterfaceError

from quartblog.app import create_app
from quartblog.cli.database import bring_up_to_date
from quartblog.database import Database
from quartblog.errors.exceptions import DatabaseUnavailable
from quartblog.models import Post, User
from quartblog.operations.health import DELIVERY
from quartblog.settings import Settings
from tests.support.browsing import Page, Visitor
from tests.support.postgres import Cluster

pytestmark = pytest.mark.postgres

SignIn = Callable[[User], Awaitable[Visitor]]

POOL = 4

# Seconds within which a visitor hears that the database is away, on a busy machine and with the patience below.
SOON = 20.0


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Little patience with the database."""
    return changed(settings, pool_timeout=0.5, pool_size=POOL)


def changed(settings: Settings, **values: object) -> Settings:
    return settings.model_copy(update={"database": settings.database.model_copy(update=values)})


Excused = Callable[[Page], Awaitable[bool]]


def excuses(app: Quart, settings: Settings) -> Excused:
    """Whether a page says that the site is away and when to come back, and one record has its error id."""

    async def excused(page: Page) -> bool:
        await asyncio.to_thread(app.extensions[DELIVERY].drain)
        log = (Path(settings.logging.directory) / settings.logging.filename).read_text("utf-8")
        assert page.status == 503, page.text
        assert "服务暂时不可用" in page.text
        assert int(page.headers["Retry-After"]) > 0
        error_id = page.headers["X-Error-Id"]
        assert error_id in page.text
        return len(re.findall(rf"^.* ERROR: .*\[error {error_id}\]$", log, re.MULTILINE)) == 1

    return excused


@pytest.fixture
def excused(app: Quart, settings: Settings) -> Excused:
    """Whether a page of the app excuses it."""
    return excuses(app, settings)


@pytest.fixture
async def member(ada: User, sign_in: SignIn) -> Visitor:
    """Somebody who has signed in."""
    return await sign_in(ada)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
async def test_a_server_that_goes_and_comes_back_needs_no_restart_of_the_app(
    excused: Excused, member: Visitor, cluster: Cluster, how: signal.Signals
) -> None:
    assert (await member.submit("/", body="before")).status == 302

    with cluster.stopped(how):
        for path in ("/", "/user/info/ada", "/user/edit"):
            assert await excused(await member.get(path))
        assert (await member.get("/readyz")).status == 503
        assert (await member.get("/healthz")).status == 200

    assert "before" in (await member.get("/")).text
    assert (await member.submit("/", body="after")).status == 302
    assert (await member.get("/readyz")).status == 200


async def test_a_server_that_stops_in_the_middle_of_a_statement_has_done_nothing(
    excused: Excused, member: Visitor, cluster: Cluster, database: Database, database_name: str
) -> None:
    with cluster.holding("LOCK posts IN SHARE MODE", database_name):
        publishing = asyncio.create_task(member.submit("/", body="lost"))
        await cluster.waiting(database_name)
        with cluster.stopped():
            assert await excused(await publishing)

    async with database.reading() as session:
        assert (await session.scalars(select(Post.body))).all() == []
    assert (await member.submit("/", body="kept")).status == 302


@pytest.mark.parametrize("function", ["pg_terminate_backend", "pg_cancel_backend"])
async def test_an_interrupted_statement_is_excused_and_the_next_one_runs(
    excused: Excused, member: Visitor, cluster: Cluster, database_name: str, function: str
) -> None:
    with cluster.holding("LOCK posts IN ACCESS EXCLUSIVE MODE", database_name):
        reading = asyncio.create_task(member.get("/"))
        await cluster.waiting(database_name)
        cluster.sql(f"SELECT {function}(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        assert await excused(await reading)

    assert (await member.get("/")).status == 200


async def test_connections_that_were_closed_while_idle_are_noticed_by_nobody(
    member: Visitor, cluster: Cluster, database_name: str
) -> None:
    for path in ("/", "/user/info/ada"):
        cluster.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_name}'")
        assert (await member.get(path)).status == 200


async def test_an_app_starts_without_its_server_and_finds_it_later(settings: Settings, cluster: Cluster) -> None:
    with cluster.stopped():
        app = create_app(settings)
        visitor = Visitor(app, Accept_Language="zh-CN")
        serving = app.test_app()
        await serving.startup()
        try:
            assert await excuses(app, settings)(await visitor.get("/"))
            cluster.start()
            assert (await visitor.get("/")).status == 200
        finally:
            await serving.shutdown()
            cluster.stop()


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"postgresql+asyncpg://blog@127.0.0.1:{listening.getsockname()[1]}/blog?ssl=disable"


async def test_a_server_that_says_nothing_is_given_up_soon(settings: Settings, silent_url: str) -> None:
    settings = changed(settings, url=SecretStr(silent_url))
    app = create_app(settings)
    async with asyncio.timeout(SOON), app.test_app():
        assert await excuses(app, settings)(await Visitor(app, Accept_Language="zh-CN").get("/"))


async def test_a_server_that_froze_is_given_up_soon(
    excused: Excused, visitor: Visitor, cluster: Cluster, database_name: str
) -> None:
    assert (await visitor.get("/")).status == 200
    with cluster.frozen(database_name):
        async with asyncio.timeout(SOON):
            assert await excused(await visitor.get("/"))

    assert (await visitor.get("/")).status == 200


@pytest.mark.parametrize("address", ["nobody", "refused"])
async def test_an_address_without_a_database_is_excused(
    settings: Settings, cluster: Cluster, address: str, tmp_path: Path
) -> None:
    url = cluster.url("no_such_database") if address == "nobody" else f"postgresql+asyncpg://blog@/blog?host={tmp_path}"
    settings = changed(settings, url=SecretStr(url))
    app = create_app(settings)
    async with app.test_app():
        assert await excuses(app, settings)(await Visitor(app, Accept_Language="zh-CN").get("/"))
    with pytest.raises(DatabaseUnavailable):
        await asyncio.to_thread(bring_up_to_date, settings)


async def test_an_exhausted_pool_is_excused_soon_and_recovers(
    excused: Excused, app: Quart, visitor: Visitor, cluster: Cluster, database_name: str
) -> None:
    with cluster.holding("LOCK posts IN ACCESS EXCLUSIVE MODE", database_name):
        slow = [asyncio.create_task(Visitor(app).get("/")) for _ in range(POOL)]
        await cluster.waiting(database_name, POOL)
        async with asyncio.timeout(SOON):
            assert await excused(await visitor.get("/"))

    assert [page.status for page in await asyncio.gather(*slow)] == [200] * POOL
    assert (await visitor.get("/")).status == 200


async def test_a_server_without_a_free_connection_is_excused_and_recovers(
    excused: Excused, visitor: Visitor, database: Database, cluster: Cluster, database_name: str
) -> None:
    await database.close()
    cluster.sql(f'ALTER DATABASE "{database_name}" CONNECTION LIMIT 0')
    assert await excused(await visitor.get("/"))

    cluster.sql(f'ALTER DATABASE "{database_name}" CONNECTION LIMIT -1')
    assert (await visitor.get("/")).status == 200


async def test_handlers_whose_clients_left_leak_no_connection(
    app: Quart, database: Database, visitor: Visitor, cluster: Cluster, database_name: str
) -> None:
    with cluster.holding("LOCK posts IN ACCESS EXCLUSIVE MODE", database_name):
        for _ in range(4):
            leaving = [asyncio.create_task(Visitor(app).get("/")) for _ in range(POOL)]
            await cluster.waiting(database_name, POOL)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)

    assert (await visitor.get("/")).status == 200
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database_name}'"
    assert int(cluster.sql(asked)) <= POOL


async def test_a_page_can_be_read_while_the_server_only_reads(
    excused: Excused, member: Visitor, database: Database, cluster: Cluster, database_name: str
) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).values(last_seen=datetime(2020, 1, 1, tzinfo=UTC)))
    cluster.sql(f'ALTER DATABASE "{database_name}" SET default_transaction_read_only = on')
    await database.close()

    page = await member.get("/")
    assert page.status == 200
    publishing = await member.send("POST", "/", form={"csrf_token": page.csrf_token, "body": "body"})
    assert await excused(publishing)


async def test_of_two_transactions_that_wait_for_each_other_one_gives_way(
    ada: User, grace: User, database: Database
) -> None:
    both_hold = asyncio.Barrier(2)

    async def change(first: User, second: User) -> None:
        async with database.transaction() as session:
            await session.execute(update(User).where(User.id == first.id).values(about_me="changed"))
            await both_hold.wait()
            await session.execute(update(User).where(User.id == second.id).values(about_me="changed"))

    ended = await asyncio.gather(change(ada, grace), change(grace, ada), return_exceptions=True)

    assert sorted(map(type, ended), key=str) == sorted([DatabaseUnavailable, type(None)], key=str)


async def test_a_connection_used_twice_at_once_is_a_failure_of_ours(database: Database) -> None:
    async with database.transaction() as session:
        connection = await session.connection()
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        elsewhere = asyncio.create_task(raw.driver_connection.fetch("SELECT pg_sleep(0.1)"))
        await asyncio.sleep(0)
        with pytest.raises(InterfaceError, match="another operation is in progress"):
            await session.execute(text("SELECT 1"))
        await elsewhere
