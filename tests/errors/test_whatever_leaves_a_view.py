"""Whatever leaves a view has a page, an id and exactly one record; only the server's own cancellation passes on."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from quart import Quart, Response, request

from quartblog.app import create_app
from quartblog.settings import Settings
from quartblog.web import application
from quartblog.web.headers import SECURITY_HEADERS
from tests.support.asgi import ask, request_scope
from tests.support.browsing import Configuration, Visitor
from tests.support.log_file import LogFile


class Odd(BaseException):
    """No Exception, and nobody's."""


KINDS: dict[str, Callable[[], BaseException]] = {
    "Exception": lambda: RuntimeError("no luck"),
    "CancelledError": asyncio.CancelledError,
    "SystemExit": lambda: SystemExit(3),
    "SystemExit without a code": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "BaseException": Odd,
    "StopAsyncIteration": StopAsyncIteration,
    "TimeoutError": TimeoutError,
    "a group": lambda: BaseExceptionGroup("several", [SystemExit(3), ValueError("one")]),
    "a group of errors": lambda: ExceptionGroup("several", [OSError("one"), ValueError("two")]),
}


@pytest.fixture
def configuration(configuration: Configuration) -> Configuration:
    """With a log file that is not rotated within a test."""
    return configuration | {"logging": configuration["logging"] | {"max_bytes": 10_000_000}}


async def raised_here(error: BaseException) -> NoReturn:
    raise error


async def raised_in_a_thread(error: BaseException) -> None:
    def fail() -> NoReturn:
        raise error

    if isinstance(error, StopAsyncIteration | GeneratorExit):
        raise error  # A future refuses to carry the first, and a thread has no use for the other.
    await asyncio.to_thread(fail)


async def raised_behind_an_await(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def raised_while_another_was_handled(error: BaseException) -> None:
    try:
        int("the first")
    except ValueError:
        raise error  # noqa: B904 - the context is what is wanted


async def raised_by_a_generator(error: BaseException) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise error

    async for _ in numbers():
        pass


PLACES: list[Callable[[BaseException], Awaitable[None]]] = [
    raised_here,
    raised_in_a_thread,
    raised_behind_an_await,
    raised_while_another_was_handled,
    raised_by_a_generator,
]


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60, derandomize=True
)
@given(kind=st.sampled_from(sorted(KINDS)), place=st.sampled_from(PLACES), json=st.booleans())
async def test_whatever_a_view_raises_has_a_page_an_id_and_one_record(
    app: Quart, log: LogFile, kind: str, place: Callable[[BaseException], Awaitable[None]], *, json: bool
) -> None:
    async def view() -> str:
        await place(KINDS[kind]())
        return "never"

    app.view_functions["posts.hello"] = view
    before = len(log.failures)

    page = await Visitor(app, Accept="application/json" if json else "text/html").get("/hello")

    assert page.status == 500
    error_id = page.headers["X-Error-Id"]
    assert error_id in page.text
    assert "发生意外错误" in page.text
    for name, value in SECURITY_HEADERS.items():
        assert page.headers.getlist(name) == [value]
    records = log.failures[before:]
    assert [record[-13:-1] for record in records] == [error_id]
    assert type(KINDS[kind]()).__name__ in log.text or kind == "StopAsyncIteration"


@pytest.mark.parametrize(
    "kind", ["CancelledError", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException"]
)
@pytest.mark.parametrize("place", ["before_request", "after_request", "error_handler", "body"])
async def test_around_the_view_it_is_the_same(app: Quart, log: LogFile, kind: str, place: str) -> None:
    make = KINDS[kind]

    async def fail(*_: Any) -> NoReturn:
        raise make()

    if place == "error_handler":
        app.register_error_handler(404, fail)
    elif place == "body":

        @app.get("/nowhere")
        async def nowhere() -> Response:
            async def body() -> AsyncIterator[bytes]:
                yield b"the beginning"
                raise make()

            return app.response_class(body())
    else:
        getattr(app, place)(fail)

    page = await ask(app, "/nowhere")

    if place == "body":  # The beginning cannot be taken back.
        assert (page.status, page.text) == (200, "the beginning")
        assert len({record[-13:-1] for record in log.failures}) == 1
    else:
        assert page.status == 500
        assert {record[-13:-1] for record in log.failures} == {page.headers["X-Error-Id"]}
        assert len(log.failures) == 1


@pytest.mark.parametrize("how", ["thread", "task", "sync view"])
async def test_a_generator_exit_that_crosses_a_task_or_thread_is_one_record(
    app: Quart, visitor: Visitor, log: LogFile, how: str
) -> None:
    def end() -> NoReturn:
        raise GeneratorExit

    async def ending() -> NoReturn:
        end()

    async def view() -> str:
        await (asyncio.to_thread(end) if how == "thread" else asyncio.create_task(ending()))
        return "never"

    app.view_functions["posts.hello"] = app.ensure_async(end) if how == "sync view" else view

    page = await visitor.get("/hello")

    assert (page.status, len(log.failures)) == (500, 1)
    assert page.headers["X-Error-Id"] in log.failure()


@pytest.mark.parametrize("kind", ["TimeoutError", "SystemExit", "GeneratorExit"])
async def test_a_body_of_quarts_own_class_that_breaks_off_is_recorded(app: Quart, log: LogFile, kind: str) -> None:
    make = KINDS[kind]

    @app.get("/long")
    async def long() -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"the beginning"
            raise make()

        return Response(body())

    page = await ask(app, "/long")

    assert (page.status, page.text, len(log.failures)) == (200, "the beginning", 1)


async def test_an_answer_that_the_server_refuses_to_send_has_a_page(app: Quart, log: LogFile) -> None:
    @app.get("/odd")
    async def odd() -> Response:
        return Response("odd", 299)

    sent: list[dict[str, Any]] = []
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        return await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        if message.get("status") == 299:
            raise ValueError("no such status")
        sent.append(message)

    await app(request_scope("/odd", "GET", b"", []), receive, send)  # type: ignore[arg-type]

    assert sent[0]["status"] == 500
    assert log.failure()[-13:-1].encode() == dict(sent[0]["headers"])[b"x-error-id"]


async def test_what_is_logged_before_the_start_gives_no_record_to_stderr(
    settings: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for handler in list(logging.root.handlers):
        monkeypatch.setattr(handler, "level", 100)
    app = create_app(settings)
    app.logger.warning("before the start")
    async with app.test_app():
        await Visitor(app).get("/errors/rehearsal?q=canary-4711")

    assert "Rehearsal" not in capfd.readouterr().err


async def test_a_task_that_somebody_else_cancelled_is_a_failure(app: Quart, visitor: Visitor, log: LogFile) -> None:
    @app.get("/waits")
    async def waits() -> str:
        task = asyncio.create_task(asyncio.sleep(3600))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task
        return "never"

    page = await visitor.get("/waits")

    assert (page.status, len(log.failures)) == (500, 1)
    assert "asyncio.exceptions.CancelledError" in log.text


async def test_a_view_that_cancels_itself_is_answered(app: Quart, visitor: Visitor, log: LogFile) -> None:
    @app.get("/cancels")
    async def cancels() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(3600)
        return "never"

    async with asyncio.timeout(20):
        page = await visitor.get("/cancels")

    assert (page.status, len(log.failures)) == (500, 1)
    assert page.headers["X-Error-Id"] in log.failure()


async def leave(app: Quart, path: str, begun: asyncio.Event, *, complete: bool) -> list[dict[str, Any]]:
    """Ask, leave once the view has begun, and return what the app sent all the same."""
    messages = [{"type": "http.request", "body": b"", "more_body": not complete}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async with asyncio.timeout(20):
        await app(request_scope(path, "GET", b"", []), receive, send)  # type: ignore[arg-type]
    return sent


async def test_a_view_ends_by_itself_when_its_visitor_leaves(app: Quart, log: LogFile) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @app.get("/works")
    async def works() -> str:
        begun.set()
        for _ in range(100):
            await asyncio.sleep(0)
        ended.set()
        return "done"

    await leave(app, "/works", begun, complete=True)

    assert ended.is_set()
    assert log.failures == []


@pytest.mark.parametrize("complete", [True, False])
async def test_a_view_that_waits_for_a_visitor_who_left_is_cancelled(
    app: Quart, log: LogFile, monkeypatch: pytest.MonkeyPatch, *, complete: bool
) -> None:
    # At once where more was to come from the visitor, else after a while.
    monkeypatch.setattr(application, "AFTER_LEAVING", 0.1 if complete else 1_000)
    begun, left = asyncio.Event(), asyncio.Event()

    @app.get("/waits")
    async def waits() -> str:
        begun.set()
        try:
            await (asyncio.Event().wait() if complete else request.get_data())
        finally:
            left.set()
        return "never"

    assert await leave(app, "/waits", begun, complete=complete) == []
    assert left.is_set()
    assert log.failures == []


async def test_an_answer_under_way_ends_when_its_visitor_leaves(app: Quart, log: LogFile) -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    @app.get("/endless")
    async def endless() -> Response:
        async def parts() -> AsyncIterator[str]:
            try:
                while True:
                    begun.set()
                    yield "more"
                    await asyncio.sleep(0)
            finally:
                left.set()

        return Response(parts())

    await leave(app, "/endless", begun, complete=True)

    assert left.is_set()
    assert log.failures == []


async def test_a_server_that_stops_gives_the_request_a_last_page_and_no_record(app: Quart, log: LogFile) -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    @app.get("/waits")
    async def waits() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return "never"

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    serving = asyncio.create_task(app(request_scope("/waits", "GET", b"", []), receive, send))  # type: ignore[arg-type]
    await begun.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving

    assert left.is_set()
    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"retry-after"] == b"10"
    assert "请稍候片刻再试".encode() in sent[1]["body"]
    assert log.failures == []


def test_the_list_of_kinds_is_not_shorter_than_pythons_own() -> None:
    builtin = {kind for kind in BaseException.__subclasses__() if kind.__module__ == "builtins"}

    assert {kind.__name__ for kind in builtin} - {"Exception"} <= {type(make()).__name__ for make in KINDS.values()}
    assert sys.version_info >= (3, 11)
