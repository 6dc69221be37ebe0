"""Every error reaches the log file once, whichever logger it came through."""

import asyncio
import logging

import pytest
from quart import Quart

from quartblog.app import create_app
from quartblog.settings import Settings
from tests.support.browsing import Configuration, Visitor
from tests.support.log_file import LogFile
from tests.support.smtp import MailServer


@pytest.mark.parametrize(
    "name", ["quartblog", "quartblog.posts", "quart.serving", "hypercorn.error", "asyncio", "lib.x"]
)
async def test_a_loggers_error_arrives_once(log: LogFile, name: str) -> None:
    logging.getLogger(name).error("out of %s", "luck")

    assert ": out of luck [in " in log.failure()
    assert "[id " in log.failure()


async def test_what_the_event_loop_reports_arrives(app: Quart, log: LogFile) -> None:
    asyncio.get_running_loop().call_exception_handler(
        {"message": "Task exception was never retrieved", "exception": OSError(28, "no reason")}
    )

    assert "Task exception was never retrieved" in log.failure()
    assert "OSError: [Errno 28] No space left on device" in log.text


async def test_records_outside_of_a_request_have_ids_of_their_own(log: LogFile) -> None:
    for _ in range(2):
        logging.getLogger("quartblog").error("at night")

    first, second = log.failures
    assert first[-13:-1] != second[-13:-1]


async def test_the_start_is_told(log: LogFile) -> None:
    assert " INFO: 微博已启动 [in " in log.text
    assert log.failures == []


async def test_nothing_listens_before_the_site_serves(settings: Settings) -> None:
    before = list(logging.root.handlers)

    create_app(settings)

    assert logging.root.handlers == before
    assert not settings.logging.directory.exists()


async def test_a_developer_sees_the_traceback_and_nobody_gets_mail(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("quartblog"), "level", logging.INFO)
    with MailServer() as server:
        app = create_app(Settings.model_validate(configuration | {"mail": server.settings}), debug=True)
        async with app.test_app():
            page = await Visitor(app).get("/errors/rehearsal")
            logging.getLogger("quartblog").error("another one")
            assert app.extensions["quartblog.delivery"].drain(mail=True)

        assert page.status == 500
        assert "this error is a rehearsal" in page.text
        assert "rehearsal.py" in page.text
        assert "style-src 'unsafe-inline'" in page.headers["Content-Security-Policy"]
        assert server.mails == []


async def test_everybody_else_gets_mail_and_no_traceback(configuration: Configuration) -> None:
    with MailServer() as server:
        app = create_app(Settings.model_validate(configuration | {"mail": server.settings}))
        async with app.test_app():
            page = await Visitor(app).get("/errors/rehearsal")
            assert app.extensions["quartblog.delivery"].drain(mail=True)

        (mail,) = server.mails
        assert "博客异常" in mail.subject
        assert page.headers["X-Error-Id"] in mail.text
        assert "rehearsal.py" not in page.text
