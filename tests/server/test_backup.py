"""A backup of a site that is being written to becomes a site again."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Server, Servers, environment, eventually

pytestmark = pytest.mark.server

WRITERS = 4
# Cookies are named by the port, and the restored site has another one.
NAME = "blog.example.org"
ROWS = 30_000
"""Posts before the test, so that the copy takes many pieces and the writers write between them."""
REHEARSAL: dict[str, object] = {"rehearsal_route": True}


class Writers:
    """Visitors who publish without a pause, and who note what the site has accepted."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stopped = threading.Event()
        self.accepted: list[str] = []
        self.cookies = ""

    def write(self, number: int) -> None:
        """Publish until `stop`."""
        client = self._server.client(Host=NAME)
        client.sign_in("ada")
        self.cookies = client.cookies
        for post in range(1_000_000):
            if self._stopped.is_set():
                return
            body = f"post {post} of {number}"
            assert client.submit("/", body=body).status == 302
            self.accepted.append(body)

    def stop(self) -> None:
        """Let every writer end after its post."""
        self._stopped.set()


def command(folder: Path, *arguments: str) -> str:
    """Run a command of the site, and return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-m", "quartblog.cli", *arguments], cwd=folder, env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def ask(file: Path, statement: str) -> list[tuple[object, ...]]:
    """The rows that a statement finds in a SQLite file."""
    with closing(sqlite3.connect(file, timeout=60)) as database:
        return database.execute(statement).fetchall()


def fill(file: Path) -> None:
    """Add many posts of the first account."""
    with closing(sqlite3.connect(file, timeout=60)) as database:
        database.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO posts "
            "(author_id, body, created_at) SELECT 1, 'old ' || i || hex(zeroblob(60)), '2020-01-01 00:00:00' FROM n",
            [ROWS],
        )
        database.commit()


def restore(copy: Path, folder: Path) -> None:
    """Do what docs/operating.md says under "Restore"."""
    (folder / "instance").mkdir(mode=0o700)
    for name in ("quartblog.sqlite3", "outbox.sqlite3", "secret_key"):
        shutil.copy(copy / name, folder / "instance" / name)
    shutil.copy(copy / "site.toml", folder / "config.toml")


def test_a_backup_under_load_becomes_a_site_that_lacks_nothing(servers: Servers) -> None:
    folder = servers.site(errors=REHEARSAL, site={"name": "Example"})
    server = servers.quartblog(folder)
    server.client().register("ada")
    fill(folder / "instance" / "quartblog.sqlite3")
    error_ids = [server.client().get("/errors/rehearsal").headers["X-Error-Id"] for _ in range(5)]
    eventually(lambda: sum(group["count"] for group in json.loads(command(folder, "errors", "list", "--json"))) == 5)
    writers = Writers(server)
    copy = servers.folder / "copy"
    with ThreadPoolExecutor(WRITERS) as pool:
        running = [pool.submit(writers.write, number) for number in range(WRITERS)]
        try:
            eventually(lambda: len(writers.accepted) > 50 or any(one.done() for one in running))
            before = list(writers.accepted)
            command(folder, "backup", str(copy))
            during = len(writers.accepted) - len(before)
        finally:
            writers.stop()
    for one in running:
        one.result()
    assert server.stop() == 0

    restored = servers.site("restored")
    restore(copy, restored)
    again = servers.quartblog(restored)

    assert during > 0, "nobody wrote while the backup was made"
    bodies = {body for (body,) in ask(restored / "instance" / "quartblog.sqlite3", "SELECT body FROM posts")}
    assert set(before) <= bodies
    assert len(bodies) >= ROWS + len(before)
    # The key came along, so everybody is still signed in; the settings too.
    page = again.client(Cookie=writers.cookies, Host=NAME).get("/user/edit")
    assert page.status == 200
    assert "Example" in page.text
    assert sum(group["count"] for group in json.loads(command(restored, "errors", "list", "--json"))) == 5
    assert error_ids[-1] in command(restored, "errors", "show", error_ids[-1])
    visitor = again.client()
    visitor.sign_in("ada")
    assert visitor.submit("/", body="written after the restore").status == 302
    assert "written after the restore" in visitor.get("/").text
    assert again.client().get("/errors/rehearsal").status == 500
    assert again.stop() == 0
    assert again.stderr == ""
    for name in ("quartblog.sqlite3", "outbox.sqlite3"):
        assert ask(restored / "instance" / name, "PRAGMA integrity_check") == [("ok",)]
    assert not list((restored / "instance").glob("*.corrupt-*"))
