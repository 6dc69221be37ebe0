"""One trial: its servers, its visitors, and what the database and the processes show."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.browsing import Page
    from tests.support.client import Client
    from tests.support.processes import Server, Servers

PEOPLE = 8


@dataclass(slots=True)
class Trial:
    """What a promise may use."""

    servers: Servers
    short: bool
    minutes: float
    """Of a soak that is not short."""

    def pick(self, long: float, short: float) -> float:
        """Return one of two sizes."""
        return short if self.short else long

    def folder(self, **sections: dict[str, object]) -> Path:
        """Return the folder of a site, with the route that fails."""
        return self.servers.site("site", errors={"rehearsal_route": True}, security={"limits": False}, **sections)

    def people(self, server: Server, several: int = PEOPLE) -> list[Client]:
        """Register people, and sign them in."""
        found = []
        for number in range(several):
            person = server.client()
            person.register(f"person{number}")
            person.sign_in(f"person{number}")
            found.append(person)
        return found


@dataclass(slots=True)
class Answers:
    """What visitors were answered, from several threads."""

    written: list[str] = field(default_factory=list)
    """Bodies of the posts that a server acknowledged."""
    pages: int = 0
    unexpected: list[str] = field(default_factory=list)
    _number: count[int] = field(default_factory=count)

    def read(self, visitor: Client, path: str = "/") -> None:
        """Ask for a page."""
        self._note(visitor.get(path), 200, path)
        self.pages += 1

    def write(self, visitor: Client) -> None:
        """Publish a post."""
        body = f"post {next(self._number)}"
        page = visitor.submit("/", body=body)
        if page.status == 302:
            self.written.append(body)
        self._note(page, 302, "POST /")

    def _note(self, page: Page, wanted: int, asked: str) -> None:
        if page.status != wanted:
            self.unexpected.append(f"{asked}: {page.status}")


class Crowd:
    """Threads that do something again and again, until the end of the block or until it raises OSError."""

    def __init__(self, doing: Iterable[Callable[[], None]]) -> None:
        self._ends = threading.Event()
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in doing]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _run(self, each: Callable[[], None]) -> None:
        while not self._ends.is_set():
            try:
                each()
            except OSError:
                return
            except BaseException as error:  # noqa: BLE001  reported by who waits
                self.failures.append(error)
                return


def posts(folder: Path) -> list[str]:
    """Return the bodies of all posts in the blog's SQLite file, and check the file."""
    with closing(sqlite3.connect(folder / "instance" / "quartblog.sqlite3")) as database:
        [integrity] = database.execute("PRAGMA integrity_check").fetchone()
        assert integrity == "ok", integrity
        return [body for [body] in database.execute("SELECT body FROM posts")]


def assert_all_there(folder: Path, written: list[str]) -> None:
    """Check that every acknowledged post is in the database, once."""
    found = posts(folder)
    assert len(found) == len(set(found)), "a post is there twice"
    missing = set(written) - set(found)
    assert not missing, f"{len(missing)} of {len(written)} acknowledged posts are missing"


def quick(ask: Callable[[], Page], *, within: float) -> Page:
    """Ask, and check that the answer came within so many seconds."""
    began = time.monotonic()
    page = ask()
    took = time.monotonic() - began
    assert took < within, f"an answer took {took:.1f} s"
    return page


def excused(page: Page) -> bool:
    """Whether the answer says that it should be asked again later."""
    return page.status == 503 and "Retry-After" in page.headers


def heals(ask: Callable[[], Page], status: int) -> None:
    """Wait until the answer has this status again."""
    eventually(lambda: ask().status == status)


def memory(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def descriptors(pid: int) -> int:
    """Return the number of open files of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
