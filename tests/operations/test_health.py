"""What a probe is told."""

import asyncio
import json
from pathlib import Path

from quart import Quart

from quartblog.database import Database
from quartblog.operations.health import DELIVERY
from tests.support.browsing import Visitor
from tests.support.log_file import LogFile


async def test_a_living_process_says_so(visitor: Visitor) -> None:
    page = await visitor.get("/healthz")

    assert (page.status, page.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(page.text) == {"status": "ok"}


async def test_a_ready_site_names_its_parts(visitor: Visitor) -> None:
    page = await visitor.get("/readyz")

    assert (page.status, page.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(page.text) == {"status": "ok", "database": "ok", "delivery": "ok"}


async def test_without_its_database_it_is_alive_but_not_ready(
    visitor: Visitor, database: Database, tmp_path: Path, log: LogFile
) -> None:
    await database.close()
    file = tmp_path / "quartblog.sqlite3"
    file.rename(file.with_suffix(".kept"))
    file.mkdir()

    page = await visitor.get("/readyz")

    assert page.status == 503
    error_id = page.headers["X-Error-Id"]
    assert json.loads(page.text) == {
        "status": "unavailable",
        "database": "unavailable",
        "delivery": "ok",
        "error_id": error_id,
    }
    # A probe asks every few seconds: it must not call the operator each time.
    assert log.failures == []
    assert f"[error {error_id}]" in log.text
    assert (await visitor.get("/healthz")).status == 200


async def test_without_its_delivery_it_is_not_ready(app: Quart, visitor: Visitor) -> None:
    await asyncio.to_thread(app.extensions[DELIVERY].stop)

    page = await visitor.get("/readyz")

    assert page.status == 503
    told = json.loads(page.text)
    assert (told["status"], told["database"], told["delivery"]) == ("unavailable", "ok", "unavailable")


async def test_a_probe_needs_no_account_and_gets_no_cookie(visitor: Visitor) -> None:
    for path in ("/healthz", "/readyz"):
        page = await visitor.get(path)
        assert "Set-Cookie" not in page.headers
        assert page.headers["Cache-Control"] == "private, no-cache"
