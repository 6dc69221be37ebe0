"""The blog and its peers, each with the same people and posts -> what a visitor asks them for."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import insert
from werkzeug.security import generate_password_hash

from quartblog.database import Database
from quartblog.models import Post, User
from tests.benchmarks.peers.microblogs import content
from tests.benchmarks.sites import PEERS, WORKERS, Site, Sites, upgrade
from tests.benchmarks.visitors import PAGES, Page, Visitor, visits
from tests.support.processes import ROOT, environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.load import Visits
    from tests.support.postgres import Cluster
    from tests.support.processes import Servers

MICROBLOGS = f"{PEERS}.microblogs"
# Prints the address, and nothing of a request.
_UVICORN_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"output": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
    "loggers": {"uvicorn": {"handlers": ["output"], "level": "INFO"}},
}
_NOW = "'2026-01-01 12:00:00.000000'"
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
_PEOPLE = f"""{_NUMBERS.format(":people")}
    INSERT INTO users (username, username_key, email, password_hash, about_me, is_admin, created_at, last_seen)
    SELECT 'person' || i, 'person' || i, i || '@example.org', '', 'About me.', 0, {_NOW}, {_NOW} FROM n"""
_POSTS = f"""{_NUMBERS.format(":posts")}
    INSERT INTO posts (author_id, body, created_at)
    SELECT i * 7919 % :people + 1, 'Post number ' || i || '.', {_NOW} FROM n"""


class Blogs(Sites):
    """Starts each of them when it is first asked for."""

    def __init__(self, servers: Servers, *, before: Path | None = None, cluster: Cluster | None = None) -> None:
        """`before` is a checkout of an earlier version. With `cluster`, ours and Starlette are on PostgreSQL."""
        super().__init__(servers, mail_port=1)
        self._mail = {}
        self._before_code = before
        self._cluster = cluster
        self._visitors: dict[str, list[Visitor]] = {}

    def visits(self, name: str, page: Page) -> tuple[Visits, int]:
        """Return what the visitors of this page ask of this site, and the bytes of the page.

        Raise AssertionError if the site answers one of them with another page.
        """
        # The bare view has no other page.
        page = PAGES["hello"] if name == "quart" else page
        site = self.get(name)
        if page.signed_in and name not in self._visitors:
            self._visitors[name] = [Visitor(site.server.url, person).sign_in() for person in content.names()]
        return visits(self._visitors[name] if page.signed_in else [Visitor(site.server.url)], page)

    def _blog(self, name: str, factory: str, code: Path = ROOT) -> Site:
        database: dict[str, object] = {"url": self._cluster.create(name)} if self._cluster else {}
        folder = self._servers.site(name, security={"limits": False}, database=database)
        upgrade(folder)
        asyncio.run(fill(str(database.get("url") or f"sqlite+aiosqlite:///{folder}/instance/quartblog.sqlite3")))
        return self._hypercorn(folder, factory, "/healthz", code)

    def sized(self, posts: int) -> Site:
        """Start the blog on SQLite with so many posts of 100,000 people."""
        name = f"posts{posts}"
        if name not in self._started:
            folder = self._servers.site(name, security={"limits": False})
            upgrade(folder)
            with closing(sqlite3.connect(folder / "instance" / "quartblog.sqlite3")) as database:
                database.execute(_PEOPLE, {"people": 100_000})
                database.execute(_POSTS, {"people": 100_000, "posts": posts})
                database.commit()
            self._started[name] = self._hypercorn(folder, "quartblog.app:create_app()", "/healthz")
        return self._started[name]

    def _before(self) -> Site:
        assert self._before_code is not None
        return self._blog("before", "quartblog.app:create_app()", self._before_code)

    def _cold(self) -> Site:
        return self._blog("cold", f"{PEERS}.cold:create_app()")

    def _quart(self) -> Site:
        return self._hypercorn(self._servers.site("quart"), f"{PEERS}.plain:create_app()", "/hello")

    def _flask(self) -> Site:
        return self._gunicorn("flask")

    def _django(self) -> Site:
        return self._gunicorn("django")

    def _gunicorn(self, name: str) -> Site:
        folder = self._filled(name)
        options = [f"--workers={WORKERS}", "--bind=fd://{fd}", "--log-level=error", f"{MICROBLOGS}.{name}_blog:app"]
        return self._start(folder, "gunicorn", options, "/hello")

    def _starlette(self) -> Site:
        variable = f"BLOG_DATABASE={self._cluster.create('starlette') if self._cluster else ''}"
        folder = self._filled("starlette", variable)
        (folder / "logging.json").write_text(json.dumps(_UVICORN_LOGGING))
        command = ["env", variable, sys.executable, "-m", "uvicorn", f"--workers={WORKERS}", "--port=0"]
        command += ["--no-access-log", "--log-config=logging.json", f"{MICROBLOGS}.starlette_blog:app"]
        # Not a socket that is passed by its number: uvicorn takes it for a Unix socket and leaves Nagle's algorithm
        # on, with which each answer on a kept connection waits 40 ms for an acknowledgement.
        return self._launch(lambda: self._servers.start(command, folder).wait_for_address(), "/hello")

    def _filled(self, name: str, variable: str = "") -> Path:
        folder = self._servers.site(name)
        command = ["env", *filter(None, [variable]), sys.executable, "-m", f"{MICROBLOGS}.{name}_blog"]
        subprocess.run(command, cwd=folder, env=environment() | {"PYTHONPATH": str(ROOT)}, check=True)
        return folder


async def fill(url: str) -> None:
    """Give the blog's database its people and posts."""
    database = Database(url)
    now = datetime.now(UTC)
    secret = generate_password_hash(content.PASSWORD, "pbkdf2:sha256:1")
    people = [
        {
            "username": name,
            "username_key": name,
            "email": f"{name}@example.org",
            "password_hash": secret,
            "about_me": "About me.",
            "is_admin": False,
            "created_at": now,
            "last_seen": now,
        }
        for name in content.names()
    ]
    async with database.transaction() as session:
        ids = list(await session.scalars(insert(User).returning(User.id), people))
        posts = [
            {"author_id": ids[number % len(ids)], "body": body[:140], "created_at": content.written_at(number)}
            for number, body in enumerate(content.bodies())
        ]
        await session.execute(insert(Post), posts)
    await database.close()
