"""The blog and its peers, each with the same people and posts -> what a visitor asks them for."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPErrorProcessor, ProxyHandler, Request, build_opener

from sqlalchemy import insert
from werkzeug.security import generate_password_hash

from quartblog.database import Database
from quartblog.models import Post, User
from tests.benchmarks.load import Visits
from tests.benchmarks.peers.microblogs import content
from tests.benchmarks.sites import PEERS, WORKERS, Site, Sites, upgrade
from tests.support.processes import ROOT, environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres import Cluster
    from tests.support.processes import Servers

MICROBLOGS = f"{PEERS}.microblogs"
VISITORS = 10
"""Signed-in people who take turns, so that no page is one that the same visitor has just had."""
CONNECTIONS = 8
_NOW = "'2026-01-01 12:00:00.000000'"
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
_PEOPLE = f"""{_NUMBERS.format(":people")}
    INSERT INTO users (username, username_key, email, password_hash, about_me, is_admin, created_at, last_seen)
    SELECT 'person' || i, 'person' || i, i || '@example.org', '', 'About me.', 0, {_NOW}, {_NOW} FROM n"""
_POSTS = f"""{_NUMBERS.format(":posts")}
    INSERT INTO posts (author_id, body, created_at) SELECT i * 7919 % :people + 1, 'Post number ' || i, {_NOW} FROM n"""
_FIELD = re.compile(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Page:
    """What visitors ask for."""

    path: str
    signed_in: bool = False
    posts: int = 0
    """The posts on it."""
    saves: bool = False
    """Whether it is a form that is sent."""


PAGES = {
    "home": Page("/", signed_in=True, posts=content.PAGE_SIZE),
    "anonymous": Page("/", posts=content.PAGE_SIZE),
    "profile": Page("/user/info/person1", signed_in=True, posts=content.PAGE_SIZE),
    "login": Page("/login"),
    "hello": Page("/hello"),
    "save": Page("/user/edit", signed_in=True, saves=True),
}


class Blogs(Sites):
    """Starts each of them when it is first asked for."""

    def __init__(self, servers: Servers, *, before: Path | None = None, cluster: Cluster | None = None) -> None:
        """`before` is a checkout of an earlier version. With `cluster`, ours and Starlette are on PostgreSQL."""
        super().__init__(servers, mail_port=1)
        self._mail = {}
        self._before_code = before
        self._cluster = cluster
        self._visitors: dict[str, list[Visitor]] = {}

    def visits(self, name: str, page: Page) -> Visits:
        """Return what the visitors of this page ask of this site, and check that it answers with that page."""
        site = self.get(name)
        if page.signed_in and name not in self._visitors:
            people = content.names()[:VISITORS]
            self._visitors[name] = [Visitor(site.server.url, person).sign_in() for person in people]
        visitors = self._visitors[name] if page.signed_in else [Visitor(site.server.url, "")]
        requests = tuple(visitor.request(page) for visitor in visitors)
        return Visits(page.path, 302 if page.saves else 200, CONNECTIONS, requests=requests)

    def _blog(self, name: str, factory: str, code: Path = ROOT) -> Site:
        database: dict[str, object] = {"url": self._cluster.create(name)} if self._cluster else {}
        folder = self._servers.site(name, security={"limits": False}, database=database)
        upgrade(folder)
        asyncio.run(fill(str(database.get("url") or f"sqlite+aiosqlite:///{folder}/instance/quartblog.sqlite3")))
        return self._hypercorn(folder, factory, "/healthz", code)

    def sized(self, posts: int) -> Site:
        """Start the blog on SQLite with many posts of 100,000 people."""
        folder = self._servers.site(f"posts{posts}", security={"limits": False})
        upgrade(folder)
        with closing(sqlite3.connect(folder / "instance" / "quartblog.sqlite3")) as database:
            database.execute(_PEOPLE, {"people": 100_000})
            database.execute(_POSTS, {"people": 100_000, "posts": posts})
            database.commit()
        return self._hypercorn(folder, "quartblog.app:create_app()", "/healthz")

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
        options = [f"--workers={WORKERS}", "--fd={fd}", "--no-access-log", "--log-level=error"]
        options += [f"{MICROBLOGS}.starlette_blog:app"]
        return self._start(folder, "uvicorn", options, "/hello", variable=variable)

    def _filled(self, name: str, variable: str = "") -> Path:
        folder = self._servers.site(name)
        command = ["env", *filter(None, [variable]), sys.executable, "-m", f"{MICROBLOGS}.{name}_blog"]
        subprocess.run(command, cwd=folder, env=environment() | {"PYTHONPATH": str(ROOT)}, check=True)
        return folder


class _AsItIs(HTTPErrorProcessor):
    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:
        return response


class Visitor:
    """One browser, which knows a site's forms by what they send."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name
        self._cookies = CookieJar()
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(self._cookies), _AsItIs())

    def sign_in(self) -> Visitor:
        """Sign in by the form."""
        form = self._hidden("/login") | {"username": self.name, "password": content.PASSWORD}
        assert self._send("/login", form)[0] == 302, f"{self.url} lets {self.name} not in"
        return self

    def request(self, page: Page) -> bytes:
        """Return the request for the page, after having a look at the page."""
        form = b""
        if page.saves:
            fields = self._hidden(page.path) | {"username": self.name, "about_me": "About me, changed."}
            assert self._send(page.path, fields)[0] == 302, f"{self.url} does not save"
            form = urlencode(fields).encode()
        else:
            status, text = self._send(page.path)
            assert status == 200, f"{self.url}{page.path} answers {status}"
            assert text.count("<article>") == page.posts, f"{self.url}{page.path} shows other posts"
            assert self.name in text, f"{self.url}{page.path} does not know {self.name}"
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)
        head = [
            f"{'POST' if page.saves else 'GET'} {page.path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Accept: text/html",
            "Accept-Language: zh-CN,zh;q=0.9",
            "Sec-Fetch-Site: same-origin",
            *([f"Cookie: {cookies}"] if cookies else []),
            *(["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"] if form else []),
        ]
        return "\r\n".join([*head, "", ""]).encode() + form

    def _hidden(self, path: str) -> dict[str, str]:
        return dict(_FIELD.findall(self._send(path)[1]))

    def _send(self, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        body = None if form is None else urlencode(form).encode()
        headers = {"Sec-Fetch-Site": "same-origin", "Accept-Language": "zh-CN", "Accept": "text/html"}
        with self._opener.open(Request(self.url + path, body, headers), timeout=60) as response:
            return response.status, response.read().decode()


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
