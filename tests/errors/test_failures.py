"""A failure: one record, one id in page, header and log line, and the next request works."""

import asyncio
import json
from pathlib import Path
from typing import NoReturn

import pytest
from quart import Quart, abort, render_template_string
from sqlalchemy import insert

from quartblog.auth import service
from quartblog.database import Database, transaction
from quartblog.models import Post, User
from tests.support.asgi import leave
from tests.support.browsing import PASSWORD, Serve, SignIn, Visitor
from tests.support.log_file import LogFile

CANARY = "canary-4711"


class Bug(Exception):
    """What nobody expected."""


@pytest.fixture(autouse=True)
def failing_routes(app: Quart) -> None:
    """Pages with a bug."""

    @app.get("/bug")
    async def bug() -> NoReturn:
        raise Bug("100 % wrong")

    @app.get("/template-bug")
    async def template_bug() -> str:
        return await render_template_string("{{ nothing.at.all }}")

    @app.get("/end/<int:status>")
    async def end(status: int) -> NoReturn:
        abort(status)

    @app.get("/failed-flush")
    async def failed_flush() -> str:
        async with transaction() as session:
            await service.register(session, "lin", "lin@example.com", "a hash")
            await session.execute(insert(User).values(username=CANARY, username_key="lin", email=CANARY))
        return "kept"

    @app.get("/duplicate")
    async def duplicate() -> str:
        async with transaction() as session:
            await service.register(session, "lin", "lin@example.com", CANARY)
            session.add(Post(author_id=4711, body=CANARY))
        return "kept"

    @app.get("/background")
    async def background() -> str:
        async def fail_later() -> None:
            raise Bug

        app.add_background_task(fail_later)
        return "done"


async def test_page_header_and_log_line_show_the_same_id(visitor: Visitor, log: LogFile) -> None:
    page = await visitor.get("/bug")

    assert page.status == 500
    assert "<h1>发生意外错误</h1>" in page.text
    error_id = page.headers["X-Error-Id"]
    assert len(error_id) == 12
    assert f"<code>{error_id}</code>" in page.text
    assert log.failure().endswith(f"[id {error_id}]")
    assert "tests.errors" not in page.text
    assert "Bug: 100 % wrong" in log.text


@pytest.mark.parametrize("path", ["/bug", "/template-bug", "/end/500", "/end/503", "/failed-flush"])
async def test_a_failure_is_recorded_once(visitor: Visitor, log: LogFile, path: str) -> None:
    page = await visitor.get(path)

    assert page.status in {500, 503}
    assert log.failure().endswith(f"[id {page.headers['X-Error-Id']}]")
    assert page.headers["X-Error-Id"] in page.text


async def test_every_failure_has_an_id_of_its_own(visitor: Visitor, log: LogFile) -> None:
    pages = [await visitor.get("/bug") for _ in range(5)]

    ids = [page.headers["X-Error-Id"] for page in pages]
    assert len(set(ids)) == 5
    assert [line[-13:-1] for line in log.failures] == ids


async def test_simultaneous_failures_keep_their_ids_apart(app: Quart, log: LogFile) -> None:
    pages = await asyncio.gather(*(Visitor(app).get("/bug") for _ in range(20)))

    assert sorted(line[-13:-1] for line in log.failures) == sorted(page.headers["X-Error-Id"] for page in pages)
    assert all(page.headers["X-Error-Id"] in page.text for page in pages)


async def test_a_program_gets_the_id_too(visitor: Visitor, log: LogFile) -> None:
    page = await visitor.get("/bug", Accept="application/json")

    assert json.loads(page.text)["error_id"] == page.headers["X-Error-Id"]
    assert page.headers["X-Error-Id"] in log.failure()


async def test_the_record_tells_who_asked_for_what_and_nothing_that_was_typed(
    ada: User, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await serve(logging={"format": "json", "filename": "json.log"})
    visitor = Visitor(app)
    await visitor.submit("/login", username="ada", password=PASSWORD)
    monkeypatch.setattr("quartblog.posts.service.timeline", None)

    await visitor.get("/?secret=1")
    await Visitor(app).send("DELETE", "/errors/rehearsal/somebody")

    records = map(json.loads, LogFile(app, tmp_path / "logs" / "json.log").text.splitlines())
    assert [(told["method"], told["route"], told["user_id"]) for told in records if told["level"] == "ERROR"] == [
        ("GET", "/", ada.id),
        ("DELETE", "/errors/rehearsal/<path:below>", None),
    ]


@pytest.mark.parametrize("path", ["/failed-flush", "/duplicate"])
async def test_after_a_failed_flush_there_is_a_page_and_the_next_request_works(
    *, ada: User, sign_in: SignIn, visitor: Visitor, database: Database, log: LogFile, path: str
) -> None:
    signed_in = await sign_in(ada)
    page = await signed_in.get(path)

    assert page.status == 500
    assert "发生意外错误" in page.text
    assert "IntegrityError" in log.text
    assert (await visitor.get("/user/info/lin")).status == 404
    assert (await signed_in.submit("/", body="still here")).status == 302
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/failed-flush", "/duplicate"])
async def test_what_was_sent_to_the_database_is_not_in_the_log(visitor: Visitor, log: LogFile, path: str) -> None:
    await visitor.get(path)

    assert "INSERT INTO" in log.text
    assert CANARY not in log.text


async def test_what_was_typed_is_not_in_the_log(
    visitor: Visitor, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise Bug

    monkeypatch.setattr(service, "secret", fail)

    page = await visitor.submit(f"/login?next=/{CANARY}", username=CANARY, password=CANARY, unknown=CANARY)

    assert page.status == 500
    assert page.headers["X-Error-Id"] in log.failure()
    assert CANARY not in log.text


async def test_the_page_asks_neither_database_nor_visitor(
    ada: User, sign_in: SignIn, statements: list[str], log: LogFile
) -> None:
    visitor = await sign_in(ada)
    statements.clear()

    page = await visitor.get("/bug")

    assert page.status == 500
    assert '<p class="reference">' in page.text, "this is the last resort, not the error page"
    assert "ada" not in page.text
    assert statements == []
    assert page.headers["X-Error-Id"] in log.failure()


async def test_100_visitors_who_leave_cost_no_connection(
    ada: User, sign_in: SignIn, database: Database, log: LogFile
) -> None:
    visitor = await sign_in(ada)
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.client.cookie_jar or ())
    headers = [
        (b"cookie", cookies.encode()),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"sec-fetch-site", b"same-origin"),
    ]

    for start in range(0, 100, 20):
        await asyncio.gather(
            *(
                leave(
                    visitor.app,
                    "/",
                    turns=turn * turn // 4,
                    method="POST",
                    headers=headers,
                    body=f"body={start + turn}".encode(),
                )
                for turn in range(20)
            )
        )

    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert (await visitor.submit("/", body="still here")).status == 302
    assert "still here" in (await visitor.get("/")).text
    assert log.failures == []


async def test_a_failing_background_task_is_recorded_under_its_request(
    app: Quart, visitor: Visitor, log: LogFile
) -> None:
    page = await visitor.get("/background")
    await asyncio.gather(*app.background_tasks, return_exceptions=True)

    assert page.status == 200
    assert "[id " in log.failure()


async def test_a_rehearsal_fails_whatever_is_asked(visitor: Visitor, log: LogFile) -> None:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    paths = ["/errors/rehearsal", "/errors/rehearsal/", "/errors/rehearsal/a/b"]

    pages = [await visitor.send(method, path) for method in methods for path in paths]

    assert {page.status for page in pages} == {500}
    assert len(log.failures) == len(pages)
