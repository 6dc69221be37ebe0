"""The server away, silent, full or interrupted: a page that says so, a record, and no restart of the app afterwards."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from quart import Quart
from sqlalchemy import select, text, update
from sqlalchemy.exc import InterfaceError

from quartblog import migrations
from quartblog.database import Database
from quartblog.errors.exceptions import DatabaseUnavailable
from quartblog.models import Post, User
from quartblog.settings import Settings
from tests.support.browsing import Configuration, Page, Serve, SignIn, Visitor
from tests.support.log_file import LogFile
from tests.support.postgres import Cluster

pytestmark = pytest.mark.postgres

POOL = 4
SOCKET = ".s.PGSQL.5432"

# Seconds the app waits for a connection: more than a busy machine needs to make one, and where that is the point, few.
PATIENT = 30.0
IMPATIENT = 2.0
# Seconds within which a visitor of an impatient app hears that the database is away.
SOON = 20.0


@pytest.fixture
def configuration(configuration: Configuration) -> Configuration:
    """A small pool and much patience."""
    configuration["database"] |= {"pool_timeout": PATIENT, "pool_size": POOL}
    return configuration


def is_excused(page: Page, log: LogFile) -> bool:
    """Whether a page says that the site is away and when to come back, and one failure has its error id."""
    assert page.status == 503, page.text
    assert "服务暂时不可用" in page.text
    assert int(page.headers["Retry-After"]) > 0
    error_id = page.headers["X-Error-Id"]
    assert error_id in page.text
    return [line.endswith(f"[id {error_id}]") for line in log.failures].count(True) == 1


@pytest.fixture
async def member(ada: User, sign_in: SignIn) -> Visitor:
    """Somebody who has signed in."""
    return await sign_in(ada)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
async def test_a_server_that_goes_and_comes_back_needs_no_restart_of_the_app(
    log: LogFile, member: Visitor, cluster: Cluster, how: signal.Signals
) -> None:
    assert (await member.submit("/", body="before")).status == 302

    with cluster.stopped(how):
        for path in ("/", "/user/info/ada", "/user/edit"):
            assert is_excused(await member.get(path), log)
        assert (await member.get("/readyz")).status == 503
        assert (await member.get("/healthz")).status == 200

    assert "before" in (await member.get("/")).text
    assert (await member.submit("/", body="after")).status == 302
    assert (await member.get("/readyz")).status == 200


async def test_a_server_that_stops_in_the_middle_of_a_statement_has_done_nothing(
    log: LogFile, member: Visitor, cluster: Cluster, database: Database, database_name: str
) -> None:
    with cluster.holding("LOCK posts IN SHARE MODE", database_name):
        publishing = asyncio.create_task(member.submit("/", body="lost"))
        await cluster.waiting(database_name)
        with cluster.stopped():
            assert is_excused(await publishing, log)

    async with database.transaction() as session:
        assert (await session.scalars(select(Post.body))).all() == []
    assert (await member.submit("/", body="kept")).status == 302


@pytest.mark.parametrize("function", ["pg_terminate_backend", "pg_cancel_backend"])
async def test_an_interrupted_statement_is_excused_and_the_next_one_runs(
    log: LogFile, member: Visitor, cluster: Cluster, database_name: str, function: str
) -> None:
    with cluster.holding("LOCK posts IN ACCESS EXCLUSIVE MODE", database_name):
        reading = asyncio.create_task(member.get("/"))
        await cluster.waiting(database_name)
        cluster.sql(f"SELECT {function}(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        assert is_excused(await reading, log)

    assert (await member.get("/")).status == 200


async def test_connections_that_were_closed_while_idle_are_noticed_by_nobody(
    member: Visitor, cluster: Cluster, database_name: str
) -> None:
    for path in ("/", "/user/info/ada"):
        cluster.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_name}'")
        assert (await member.get(path)).status == 200


async def test_an_app_starts_without_its_server_and_finds_it_later(
    serve: Serve, settings: Settings, cluster: Cluster, database_url: str
) -> None:
    with cluster.stopped():
        app = await serve()
        visitor = Visitor(app, Accept_Language="zh-CN")
        assert is_excused(await visitor.get("/"), log_of(app, settings))

    assert (await visitor.get("/")).status == 200


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"postgresql+asyncpg://blog@127.0.0.1:{listening.getsockname()[1]}/blog?ssl=disable"


async def test_a_server_that_says_nothing_is_given_up_soon(serve: Serve, settings: Settings, silent_url: str) -> None:
    async with asyncio.timeout(SOON):
        app = await serve(database={"url": silent_url, "pool_timeout": 0.5})
        assert is_excused(await Visitor(app, Accept_Language="zh-CN").get("/"), log_of(app, settings))


async def test_a_server_that_froze_is_given_up_soon(
    serve: Serve, settings: Settings, cluster: Cluster, database_name: str
) -> None:
    app = await serve(database={"pool_timeout": IMPATIENT})
    visitor = Visitor(app, Accept_Language="zh-CN")
    assert (await visitor.get("/")).status == 200
    with cluster.frozen(database_name):
        async with asyncio.timeout(SOON):
            assert is_excused(await visitor.get("/"), log_of(app, settings))

    assert (await visitor.get("/")).status == 200


@pytest.mark.parametrize("name", ["no_such_database", "no_such_user"])
async def test_an_address_without_a_database_is_excused(
    serve: Serve, settings: Settings, cluster: Cluster, database_url: str, name: str
) -> None:
    url = cluster.url(name) if name == "no_such_database" else database_url.replace("blog@", "nobody@")
    app = await serve(database={"url": url})

    assert is_excused(await Visitor(app, Accept_Language="zh-CN").get("/"), log_of(app, settings))
    with pytest.raises(DatabaseUnavailable):
        await asyncio.to_thread(migrations.current, url)


async def test_an_exhausted_pool_is_excused_soon_and_recovers(
    serve: Serve, settings: Settings, cluster: Cluster, database_name: str
) -> None:
    app = await serve(database={"pool_timeout": IMPATIENT})
    visitor = Visitor(app, Accept_Language="zh-CN")
    with cluster.holding("LOCK posts IN ACCESS EXCLUSIVE MODE", database_name):
        slow = [asyncio.create_task(Visitor(app).get("/")) for _ in range(POOL)]
        await cluster.waiting(database_name, POOL)
        async with asyncio.timeout(SOON):
            assert is_excused(await visitor.get("/"), log_of(app, settings))

    assert [page.status for page in await asyncio.gather(*slow)] == [200] * POOL
    assert (await visitor.get("/")).status == 200


async def test_a_server_without_a_free_connection_is_excused_and_recovers(
    log: LogFile, visitor: Visitor, database: Database, cluster: Cluster, database_name: str
) -> None:
    await database.close()
    cluster.sql(f'ALTER DATABASE "{database_name}" CONNECTION LIMIT 0')
    assert is_excused(await visitor.get("/"), log)

    cluster.sql(f'ALTER DATABASE "{database_name}" CONNECTION LIMIT -1')
    assert (await visitor.get("/")).status == 200


async def test_handlers_whose_clients_left_leak_no_connection(
    app: Quart, database: Database, visitor: Visitor, cluster: Cluster, database_name: str
) -> None:
    with cluster.holding("LOCK posts IN ACCESS EXCLUSIVE MODE", database_name):
        for _ in range(4):
            async with AsyncExitStack() as open_requests:
                for _ in range(POOL):
                    await open_requests.enter_async_context(leaving(app))
                await cluster.waiting(database_name, POOL)
            assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]

    assert (await visitor.get("/")).status == 200
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database_name}'"
    assert int(cluster.sql(asked)) <= POOL


async def test_a_page_can_be_read_while_the_server_only_reads(
    log: LogFile, member: Visitor, database: Database, cluster: Cluster, database_name: str
) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).values(last_seen=datetime(2020, 1, 1, tzinfo=UTC)))
    cluster.sql(f'ALTER DATABASE "{database_name}" SET default_transaction_read_only = on')
    await database.close()

    page = await member.get("/")
    assert page.status == 200
    publishing = await member.submit("/", body="body")
    assert is_excused(publishing, log)


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


@asynccontextmanager
async def leaving(app: Quart) -> AsyncIterator[None]:
    """A request for the home page whose client leaves at the end of the block."""
    async with app.test_client().request("/") as request:
        await request.send_complete()
        yield
        await request.disconnect()


def log_of(app: Quart, settings: Settings) -> LogFile:
    return LogFile(app, settings.logging.directory / settings.logging.filename)


@asynccontextmanager
async def line_to(cluster: Cluster, folder: Path) -> AsyncIterator[Callable[[], None]]:
    """Lead connections to the server through a socket in this folder; gives a function that silences those there are.

    Nothing arrives over them any more, and nobody is told: so a host vanishes, or a firewall forgets a connection.
    """
    loud: set[asyncio.StreamWriter] = set()
    writers: list[asyncio.StreamWriter] = []
    passing: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if writer in loud:
                writer.write(data)

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(str(cluster.folder / SOCKET))
        loud.update((writer, far_writer))
        writers.extend((writer, far_writer))
        passing.update((asyncio.create_task(copy(reader, far_writer)), asyncio.create_task(copy(far_reader, writer))))

    async with await asyncio.start_unix_server(lead, str(folder / SOCKET)):
        yield loud.clear
        for task in passing:
            task.cancel()
        for writer in writers:
            writer.close()
        await asyncio.gather(*passing, *(writer.wait_closed() for writer in writers), return_exceptions=True)


async def test_connections_that_fell_silent_are_given_up(
    serve: Serve,
    settings: Settings,
    cluster: Cluster,
    database_name: str,
    tmp_path: Path,
) -> None:
    async with line_to(cluster, tmp_path) as silence:
        url = cluster.url(database_name).replace(str(cluster.folder), str(tmp_path))
        app = await serve(database={"url": url, "pool_size": POOL, "pool_timeout": IMPATIENT})
        visitor = Visitor(app, Accept_Language="zh-CN")
        # SOON is more than the app waits for one statement.
        with cluster.holding("LOCK posts IN ACCESS EXCLUSIVE MODE", database_name):
            asking = [asyncio.create_task(visitor.get("/")) for _ in range(POOL)]
            await cluster.waiting(database_name, POOL)
            silence()
            async with asyncio.timeout(SOON):
                pages = await asyncio.gather(*asking)

        for page in pages:
            assert is_excused(page, log_of(app, settings))
        async with asyncio.timeout(SOON):
            while (await visitor.get("/")).status != 200:
                pass


async def test_tables_that_changed_meanwhile_are_excused(
    serve: Serve, settings: Settings, cluster: Cluster, database_name: str
) -> None:
    app = await serve(database={"pool_size": 1})
    visitor = Visitor(app, Accept_Language="zh-CN")
    assert (await visitor.get("/")).status == 200
    await asyncio.to_thread(cluster.sql, "ALTER TABLE posts ALTER COLUMN body TYPE text", database_name)

    assert is_excused(await visitor.get("/"), log_of(app, settings))
    assert (await visitor.get("/")).status == 200
