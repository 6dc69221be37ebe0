"""Debug mode, which shows code to visitors and sends no mail, is asked for in one way only."""

import subprocess
import sys
from pathlib import Path

from quartblog.app import create_app
from quartblog.settings import Settings
from tests.support.browsing import Visitor
from tests.support.processes import ROOT, environment
from tests.support.programs import PATIENCE

VARIABLES = ["FLASK_DEBUG", "QUART_DEBUG", "FLASK_ENV", "QUART_ENV", "FLASK_TESTING", "QUART_TESTING"]
VARIABLES += ["FLASK_PROPAGATE_EXCEPTIONS", "QUART_PROPAGATE_EXCEPTIONS", "QUARTBLOG_DEBUG"]

FAIL = """
import asyncio
from quartblog import migrations
from quartblog.app import create_app

migrations.upgrade("sqlite+aiosqlite:///instance/quartblog.sqlite3")
app = create_app()

async def main():
    async with app.test_app():
        answer = await app.test_client().get("/errors/rehearsal")
        print(answer.status_code, await answer.get_data(as_text=True))

asyncio.run(main())
"""


def failed_in(folder: Path, **variables: str) -> tuple[str, str]:
    """What a visitor sees of a failure, and the log, where the site is started with these variables."""
    (folder / "config.toml").write_text(
        '[mail]\nserver = "127.0.0.1"\nport = 1\nadmins = ["ops@example.org"]\n[errors]\nrehearsal_route = true\n'
    )
    printed = subprocess.check_output(
        [sys.executable, "-c", FAIL],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | variables,
        timeout=PATIENCE,
        text=True,
        encoding="utf-8",
    )
    return printed, (folder / "logs" / "microblog.log").read_text("utf-8")


def test_no_variable_turns_debug_mode_on(tmp_path: Path) -> None:
    values = dict.fromkeys(VARIABLES, "1") | {"FLASK_ENV": "development", "QUART_ENV": "development"}

    page, log = failed_in(tmp_path, **values)

    assert page.startswith("500 <!doctype html>")
    assert "Traceback" not in page
    assert "发生意外错误" in page
    assert "No mail server is used" not in log
    assert "Debug is on" not in log


async def test_the_factory_turns_it_on_where_it_is_told_to(settings: Settings) -> None:
    app = create_app(settings, debug=True)
    async with app.test_app():
        page = await Visitor(app).get("/errors/rehearsal")

    assert page.status == 500
    assert "rehearse" in page.text, "where it failed is shown"
