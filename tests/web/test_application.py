"""What Quart shows a developer itself is recorded as everything else."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from quart import Quart
from quart.sessions import SecureCookieSessionInterface

from quartblog.app import create_app
from quartblog.settings import Settings
from tests.support.browsing import Configuration, Visitor
from tests.support.log_file import LogFile
from tests.support.smtp import MailServer


class NoSessions(SecureCookieSessionInterface):
    async def open_session(self, *_: Any) -> NoReturn:
        raise OSError("out of everything")


@pytest.fixture
def mail_server() -> Any:
    """A server that would take mail."""
    with MailServer() as server:
        yield server


@pytest.fixture
async def debugged(
    configuration: Configuration, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Quart]:
    """The app as a developer runs it, with a mail server in its settings."""
    monkeypatch.setattr(logging.getLogger("quartblog"), "level", logging.INFO)
    app = create_app(Settings.model_validate(configuration | {"mail": mail_server.settings}), debug=True)
    async with app.test_app():
        yield app


@pytest.fixture
def debug_log(debugged: Quart, tmp_path: Path) -> LogFile:
    """What it has logged."""
    return LogFile(debugged, tmp_path / "logs" / "microblog.log")


async def test_a_developer_sees_the_traceback_and_it_is_recorded_as_usual(
    debugged: Quart, debug_log: LogFile, mail_server: MailServer
) -> None:
    page = await Visitor(debugged).get("/errors/rehearsal/somewhere?secret=canary-4711")

    assert page.status == 500
    assert "rehearsal.py" in page.text
    line = debug_log.failure()
    assert "Exception on request GET /errors/rehearsal/<path:below> [in " in line
    assert line.endswith(f"[id {page.headers['X-Error-Id']}]")
    assert "quartblog.errors.rehearsal.Rehearsal: this error is a rehearsal" in debug_log.text
    assert "canary-4711" not in debug_log.text
    assert debug_log.delivery.drain(mail=True)
    assert mail_server.mails == []


async def test_what_fails_outside_of_every_handler_is_recorded_too(debugged: Quart, debug_log: LogFile) -> None:
    debugged.session_interface = NoSessions()

    page = await Visitor(debugged).get("/")

    assert "out of everything" in page.text
    assert debug_log.failure().endswith(f"[id {page.headers['X-Error-Id']}]")
    assert "ExceptionGroup" not in debug_log.text


async def test_what_a_handler_answers_is_recorded_once(debugged: Quart, debug_log: LogFile) -> None:
    page = await Visitor(debugged).get("/nowhere")

    assert page.status == 404
    assert debug_log.failures == []


def test_a_developer_sees_a_changed_template_at_once(debugged: Quart) -> None:
    assert debugged.jinja_env.auto_reload
