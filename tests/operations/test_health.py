"""What a probe is told."""

import asyncio
import json
import logging
import os
import re
import shutil
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest
from quart import Quart

from quartblog.database import Database
from quartblog.delivery import Delivery, Outbox, OutboxOptions
from quartblog.operations.health import DELIVERY
from quartblog.settings import Settings
from tests.support.browsing import Visitor
from tests.support.clocks import FakeClock
from tests.support.failures import an_event
from tests.support.log_file import LogFile
from tests.support.processes import eventually

CANNOT = "log file cannot be written"


async def test_a_living_process_says_so(visitor: Visitor) -> None:
    page = await visitor.get("/healthz")

    assert (page.status, page.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(page.text) == {"status": "ok"}


async def test_a_ready_site_names_its_parts(visitor: Visitor) -> None:
    page = await visitor.get("/readyz")

    assert (page.status, page.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(page.text) == {"status": "ok", "database": "ok", "delivery": "ok"}


@pytest.mark.sqlite
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
    assert f"[id {error_id}]" in log.text
    assert (await visitor.get("/healthz")).status == 200


async def test_a_worker_that_stands_still_is_named(app: Quart, visitor: Visitor, settings: Settings) -> None:
    # A process that lives and gives no heartbeat: that of the tests' own parent.
    with closing(Outbox(OutboxOptions(settings.delivery.outbox), clock=FakeClock(time.time() - 60))) as earlier:
        earlier.heartbeats.beat(f"{socket.gethostname()}:{os.getppid()}", leader=True, figures={})
    delivery: Delivery = app.extensions[DELIVERY]
    await asyncio.to_thread(eventually, lambda: delivery.hanging)

    page = await visitor.get("/readyz")

    assert page.status == 200
    found = json.loads(page.text)
    assert found["status"] == "degraded"
    assert re.fullmatch(r"a worker has been silent for 6\d s", found["delivery"])


async def test_a_full_outbox_that_dropped_errors_is_named(app: Quart, visitor: Visitor, settings: Settings) -> None:
    delivery: Delivery = app.extensions[DELIVERY]
    # Another process of the host, with a smaller bound.
    with closing(Outbox(OutboxOptions(settings.delivery.outbox, max_bytes=1024 * 1024))) as other:
        for number in range(400):
            other.record([an_event(f"{number:016x}", place="p" * 2_500, function=f"{number:016x}")])
        assert other.totals().crowded_errors
    await asyncio.to_thread(eventually, lambda: delivery.recent_losses)

    page = await visitor.get("/readyz")

    assert page.status == 200
    expected = {"status": "degraded", "database": "ok", "delivery": "outbox full: errors were dropped"}
    assert json.loads(page.text) == expected


async def test_without_its_delivery_it_serves_and_says_so(app: Quart, visitor: Visitor) -> None:
    await asyncio.to_thread(app.extensions[DELIVERY].stop)

    page = await visitor.get("/readyz")

    assert page.status == 200
    assert json.loads(page.text) == {"status": "degraded", "database": "ok", "delivery": "stopped"}


@pytest.mark.sqlite
async def test_the_database_decides_whatever_is_wrong_with_the_delivery(
    app: Quart, visitor: Visitor, database: Database, tmp_path: Path
) -> None:
    await asyncio.to_thread(app.extensions[DELIVERY].stop)
    await database.close()
    file = tmp_path / "quartblog.sqlite3"
    file.rename(file.with_suffix(".kept"))
    file.mkdir()

    page = await visitor.get("/readyz")

    assert page.status == 503
    told = json.loads(page.text)
    assert (told["status"], told["database"], told["delivery"]) == ("unavailable", "unavailable", "stopped")


async def test_an_outbox_that_cannot_be_used_takes_no_site_down(
    app: Quart, visitor: Visitor, capfd: pytest.CaptureFixture[str]
) -> None:
    delivery: Delivery = app.extensions[DELIVERY]
    outbox = delivery.outbox
    assert outbox is not None
    assert outbox.path is not None
    outbox.path.unlink(missing_ok=True)
    outbox.path.mkdir()
    logging.getLogger("test").error("this one is kept in memory")
    await asyncio.to_thread(delivery.drain)

    page = await visitor.get("/readyz")

    assert page.status == 200
    assert json.loads(page.text) == {"status": "degraded", "database": "ok", "delivery": "outbox in memory"}
    outbox.path.rmdir()
    assert "cannot be used" in capfd.readouterr().err


async def test_a_worker_that_can_mail_no_more_serves_and_says_so(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing that can be done from outside ends a thread.
    monkeypatch.setattr(Delivery, "problem", "a thread has ended")

    page = await visitor.get("/readyz")

    assert page.status == 200
    assert json.loads(page.text) == {"status": "degraded", "database": "ok", "delivery": "a thread has ended"}


async def test_a_probe_needs_no_account_and_gets_no_cookie(visitor: Visitor) -> None:
    for path in ("/healthz", "/readyz"):
        page = await visitor.get(path)
        assert "Set-Cookie" not in page.headers
        assert page.headers["Cache-Control"] == "private, no-cache"


async def test_a_log_that_cannot_be_written_takes_no_site_away_and_is_well_again_without_another_error(
    app: Quart, visitor: Visitor, log: LogFile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    delivery: Delivery = app.extensions[DELIVERY]
    await asyncio.to_thread(delivery.drain)
    logs = tmp_path / "logs"
    shutil.rmtree(logs)
    logs.write_text("a file where the folder was")
    logging.getLogger("test").info("this one is lost")
    await asyncio.to_thread(delivery.drain)
    page = await visitor.get("/readyz")
    assert (page.status, json.loads(page.text)["delivery"]) == (200, CANNOT)
    assert str(tmp_path) not in page.text
    assert (await visitor.get("/")).status == 200
    await asyncio.to_thread(delivery.drain)

    logs.unlink()
    await visitor.get("/readyz")
    await asyncio.to_thread(delivery.drain)

    assert json.loads((await visitor.get("/readyz")).text)["status"] == "ok"
    assert "cannot be written" in capfd.readouterr().err
