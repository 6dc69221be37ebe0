"""What people do, with PostgreSQL behind it."""

import asyncio
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from quart import Quart
from sqlalchemy import func, select, update

from quartblog.database import Database
from quartblog.models import Post, User
from tests.support.browsing import PASSWORD, Page, SignIn, Visitor
from tests.support.log_file import LogFile
from tests.support.postgres import Cluster

pytestmark = pytest.mark.postgres


async def test_the_original_journey(visitor: Visitor) -> None:
    assert (await register(visitor, "ada")).status == 302
    assert (await visitor.submit("/login", username="Ada", password=PASSWORD)).location == "/"
    assert (await visitor.submit("/", body="第一条微博")).status == 302
    assert "第一条微博" in (await visitor.get("/")).text
    assert "第一条微博" in (await visitor.get("/user/info/ada")).text
    assert (await visitor.submit("/user/edit", username="Ada", about_me="关于")).status == 302
    assert "关于" in (await visitor.get("/user/info/ada")).text
    assert (await visitor.submit("/logout")).status == 302
    assert (await visitor.get("/user/edit")).status == 302


async def test_a_taken_name_or_address_is_explained_beside_its_field(ada: User, visitor: Visitor) -> None:
    name = await register(visitor, "ADA", "other@example.com")
    address = await register(visitor, "other", "ADA@example.com")

    assert (name.status, name.errors_beside("username")) == (200, "该用户名已被使用")
    assert (address.status, address.errors_beside("email")) == (200, "该邮箱已被使用")


async def test_a_taken_name_is_explained_when_editing(ada: User, grace: User, sign_in: SignIn) -> None:
    page = await (await sign_in(grace)).submit("/user/edit", username="Ada", about_me="typed")

    assert (page.status, page.errors_beside("username")) == (200, "请使用其他用户名")
    assert page.value_of("about_me") == "typed"


async def test_twenty_registrations_at_once_give_one_account_and_nineteen_explanations(
    app: Quart, database: Database
) -> None:
    visitors = [Visitor(app, Accept_Language="zh-CN") for _ in range(20)]

    pages = await asyncio.gather(
        *(register(visitor, "ada", f"ada{number}@example.com") for number, visitor in enumerate(visitors))
    )

    assert sorted(page.status for page in pages) == [200] * 19 + [302]
    assert [page.errors_beside("username") for page in pages if page.status == 200] == ["该用户名已被使用"] * 19
    assert await count(database, User) == 1


async def test_the_error_page_after_a_failed_flush_is_whole_and_the_next_page_too(
    visitor: Visitor, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The original's first fault: nothing explained the violation, and the session stayed broken.
    monkeypatch.setattr("quartblog.auth.service.violated_constraint", lambda error: None)
    await register(visitor, "ada")

    page = await register(visitor, "ada", "other@example.com")

    assert page.status == 500
    assert page.headers["X-Error-Id"] in page.text
    assert "发生意外错误" in page.text
    assert (await visitor.get("/")).status == 200
    assert page.headers["X-Error-Id"] in log.failure()
    assert "uq_users_username_key" in log.text
    assert "example.com" not in log.text


@pytest.mark.parametrize("key", [2**31 - 1, 2**31, 2**63, 2**64, 10**30, "1" * 5000, "-1", "0x1", "１", "\0", "", "1'"])
@pytest.mark.parametrize("side", ["before", "after"])
async def test_any_key_in_the_address_gives_a_page(visitor: Visitor, side: str, key: int | str) -> None:
    assert (await visitor.get(f"/?{side}={quote(str(key))}")).status == 200


@pytest.mark.parametrize("name", ["a\0b", "\0", "x" * 5000, "字" * 65, "\ud800", "\U0010ffff", "'; --", "%", "a/b"])
async def test_any_name_in_the_address_is_no_person(visitor: Visitor, name: str) -> None:
    assert (await visitor.get(f"/user/info/{quote(name, safe='', errors='surrogatepass')}")).status == 404


@pytest.mark.parametrize("text", ["a\0b", "\0" * 10, "x" * 5000, "\ud800", "\U0010ffff" * 3, "\r\n" * 200, "%s $1 ''"])
async def test_nothing_typed_into_a_form_is_a_failure(ada: User, sign_in: SignIn, app: Quart, text: str) -> None:
    typed = text.encode("utf-8", "replace").decode()
    signed_in, stranger = await sign_in(ada), Visitor(app)

    pages = [
        await signed_in.submit("/", body=typed),
        await signed_in.submit("/user/edit", username=typed, about_me=typed),
        await signed_in.submit("/user/edit", username="ada", about_me=typed),
        await stranger.submit("/login", username=typed, password=typed),
        await register(stranger, typed),
        await register(stranger, "new", typed),
        await register(stranger, "new", password=typed),
    ]

    assert [page.status for page in pages if page.status not in {200, 302}] == []


async def test_a_cookie_nobody_gave_out_signs_nobody_in(visitor: Visitor) -> None:
    for value in ("x", "\x01", "a" * 4000, "MQ.aaaa.bbbb"):
        page = await visitor.get("/user/edit", Cookie=f"quartblog_login={quote(value)}")
        assert page.status == 302


@pytest.mark.parametrize("posts", [1, 60])
async def test_a_page_takes_at_most_three_statements_however_many_posts(
    ada: User, database: Database, sign_in: SignIn, statements: list[str], posts: int
) -> None:
    visitor = await sign_in(ada)
    async with database.transaction() as session:
        session.add_all(Post(author_id=ada.id, body="body", created_at=datetime.now(UTC)) for _ in range(posts))

    for path in ("/", "/user/info/ada"):
        statements.clear()
        assert (await visitor.get(path)).status == 200
        assert 1 <= len(statements) <= 3, statements


async def test_a_page_that_only_reads_begins_no_transaction(
    ada: User, sign_in: SignIn, database: Database, cluster: Cluster, database_name: str
) -> None:
    visitor = await sign_in(ada)
    cluster.sql(f"""ALTER DATABASE "{database_name}" SET log_statement = 'all'""")
    await database.close()

    log = cluster.folder / "server.log"
    for path in ("/", "/user/info/ada"):
        assert (await visitor.get(path)).status == 200
        before = log.stat().st_size
        assert (await visitor.get(path)).status == 200
        asked = log.read_bytes()[before:]
        assert b"SELECT" in asked
        assert b"BEGIN" not in asked


async def test_what_fails_halfway_leaves_nothing_behind(ada: User, database: Database) -> None:
    async def fail_halfway() -> None:
        async with database.transaction() as session:
            await session.execute(update(User).values(about_me="half"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_halfway()

    async with database.transaction() as session:
        assert await session.scalar(select(User.about_me)) == ""


async def test_of_two_edits_at_once_one_stands_whole(ada: User, sign_in: SignIn, database: Database) -> None:
    one, other = await sign_in(ada), await sign_in(ada)

    pages = await asyncio.gather(
        one.submit("/user/edit", username="one", about_me="first"),
        other.submit("/user/edit", username="other", about_me="second"),
    )

    assert [page.status for page in pages] == [302, 302]
    async with database.transaction() as session:
        found = (await session.execute(select(User.username, User.username_key, User.about_me))).one()
    assert found in {("one", "one", "first"), ("other", "other", "second")}


async def test_of_two_people_who_want_one_name_at_once_one_gets_it(
    ada: User, grace: User, sign_in: SignIn, database: Database
) -> None:
    visitors = [await sign_in(ada), await sign_in(grace)]

    pages = await asyncio.gather(*(person.submit("/user/edit", username="Wanted", about_me="") for person in visitors))

    assert sorted(page.status for page in pages) == [200, 302]
    assert [page.errors_beside("username") for page in pages if page.status == 200] == ["请使用其他用户名"]


async def test_writers_at_once_lose_nothing(ada: User, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).values(about_me="0"))

    async def add_one() -> None:
        async with database.transaction() as session:
            found = await session.scalar(select(User).where(User.id == ada.id).with_for_update())
            assert found is not None
            found.about_me = str(int(found.about_me) + 1)

    await asyncio.gather(*(add_one() for _ in range(40)))

    async with database.transaction() as session:
        assert await session.scalar(select(User.about_me)) == "40"


async def register(visitor: Visitor, username: str, email: str = "", password: str = PASSWORD) -> Page:
    return await visitor.submit(
        "/register", username=username, email=email or f"{username}@example.com", password=password, password2=password
    )


async def count(database: Database, table: type[User]) -> int:
    async with database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0
