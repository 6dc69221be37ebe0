"""Whatever fails, even what should explain the failure: the visitor gets a page with an id, the operator a record."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from jinja2 import DictLoader
from quart import Quart, Response
from quart.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import HTTPException

from quartblog.web.headers import SECURITY_HEADERS
from tests.support.asgi import ask
from tests.support.browsing import Page, Serve, Visitor
from tests.support.log_file import LogFile

Break = Callable[[Quart], None]


def fail(*_: object, **__: object) -> NoReturn:
    raise OSError("out of everything")


def break_template(app: Quart) -> None:
    app.jinja_env.loader = DictLoader({"error.html": "{{ nothing.at.all }}"})


def break_templates(app: Quart) -> None:
    app.jinja_env.loader = DictLoader({})


def break_handler(app: Quart) -> None:
    async def failing(_error: HTTPException) -> Response:
        fail()

    app.register_error_handler(HTTPException, failing)


def break_answers(app: Quart) -> None:
    async def failing(_response: Response) -> Response:
        fail()

    app.after_request(failing)


class NoSessions(SecureCookieSessionInterface):
    async def open_session(self, *_: Any) -> NoReturn:
        fail()


class NoSaving(SecureCookieSessionInterface):
    async def save_session(self, *_: Any) -> NoReturn:
        fail()


def break_sessions(app: Quart) -> None:
    app.session_interface = NoSessions()


def break_saving(app: Quart) -> None:
    app.session_interface = NoSaving()


BREAKS = [break_template, break_templates, break_handler, break_answers, break_sessions, break_saving]


def assert_explained(page: Page, log: LogFile) -> None:
    """A complete page for the visitor and records of the same id for the operator."""
    assert page.status == 500
    error_id = page.headers["X-Error-Id"]
    assert page.headers.getlist("X-Error-Id") == [error_id]
    assert "发生意外错误" in page.text
    assert error_id in page.text
    for name, value in SECURITY_HEADERS.items():
        assert page.headers.getlist(name) == [value]
    assert {line[-13:-1] for line in log.failures} == {error_id}


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("path", ["/errors/rehearsal", "/nowhere"])
async def test_there_is_always_a_page_and_a_record(
    app: Quart, visitor: Visitor, log: LogFile, broken: Break, path: str
) -> None:
    broken(app)

    page = await visitor.get(path)

    assert_explained(page, log)


@pytest.mark.parametrize("broken", [break_templates, break_answers, break_sessions, break_saving])
async def test_an_ordinary_page_that_cannot_be_sent_is_explained_too(
    app: Quart, visitor: Visitor, log: LogFile, broken: Break
) -> None:
    broken(app)

    page = await visitor.get("/login")

    assert_explained(page, log)


@pytest.mark.parametrize(
    ("mail", "chinese", "english"),
    [
        ({}, "已记录", "It has been recorded"),
        (
            {"server": "127.0.0.1", "port": 1, "admins": ["ops@example.org"]},
            "已通知管理员",
            "The administrator has been notified",
        ),
    ],
    ids=["without mail", "with mail"],
)
async def test_the_fixed_page_says_who_knows_of_the_failure(
    serve: Serve, mail: dict[str, object], chinese: str, english: str
) -> None:
    app = await serve(mail=mail)
    break_sessions(app)

    assert f"<p>{chinese}，给您带来的不便，请多多原谅</p>" in (await Visitor(app).get("/")).text
    assert f"<p>{english}; we apologise" in (await Visitor(app, Accept_Language="en").get("/")).text


async def test_the_fixed_page_speaks_the_visitors_language(app: Quart) -> None:
    break_sessions(app)

    english = await Visitor(app, Accept_Language="en").get("/")
    site = await Visitor(app, Accept_Language="fr").get("/")

    assert '<html lang="en">' in english.text
    assert "An unexpected error has occurred" in english.text
    assert '<html lang="zh-Hans">' in site.text
    assert 'href="/"' in english.text


async def test_the_fixed_answer_to_a_program_is_a_problem(app: Quart, visitor: Visitor, log: LogFile) -> None:
    break_sessions(app)

    page = await visitor.get("/", Accept="application/json")

    problem = json.loads(page.text)
    assert page.headers["Content-Type"] == "application/problem+json"
    assert page.headers["Cache-Control"] == "no-store"
    assert (problem["status"], problem["error_id"]) == (500, page.headers["X-Error-Id"])
    assert page.headers["X-Error-Id"] in log.failure()


async def test_the_record_is_about_what_failed_and_no_wrapping_of_it(
    app: Quart, visitor: Visitor, log: LogFile
) -> None:
    break_sessions(app)

    await visitor.get("/")

    assert "OSError: out of everything" in log.text
    assert "ExceptionGroup" not in log.text


async def test_an_answer_that_breaks_off_is_recorded(app: Quart, log: LogFile) -> None:
    @app.get("/long")
    async def long() -> Response:
        async def body() -> Any:
            yield b"the beginning"
            fail()

        return Response(body())

    page = await ask(app, "/long")

    # The status has gone out: nothing can be taken back, and no second answer may follow.
    assert (page.status, page.text) == (200, "the beginning")
    assert "The app failed to answer this request" in log.failure()


async def test_a_websocket_is_refused_without_a_record(app: Quart, log: LogFile) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "scheme": "ws"}
    await app(scope, receive, send)  # type: ignore[arg-type]

    assert [message["type"] for message in sent] == ["websocket.close"]
    assert log.failures == []
