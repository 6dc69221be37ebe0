"""One trial: its servers, its visitors, and what the database and the processes show."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.support.browsing import Page
    from tests.support.client import Client
    from tests.support.processes import Server, Servers

NAME = "blog.example.org"
"""The Host of people, because cookies are named by the port, and each server of a trial has another one."""
PEOPLE = 8
# A fiftieth of what two idle processors answer: below it the site hangs, and the trial has tried nothing.
PAGES_A_SECOND, POSTS_A_SECOND = 20.0, 2.0
# Seconds in which an answer must come, far above the need of a loaded machine.
PATIENCE = 10.0
# Seconds between two reports of a trial that lasts.
REPORT_EVERY = 30.0
# Seconds before a visitor tries again after a broken connection.
RETRY = 0.05


def silence(words: str) -> None:
    """Report nothing."""


@dataclass(slots=True)
class Trial:
    """Servers and sizes for one promise."""

    servers: Servers
    short: bool
    minutes: float
    """Length of a soak that is not short."""
    report: Callable[[str], None] = silence
    """Shows an operator the state of the trial."""

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
            person = server.client(Host=NAME)
            person.register(f"person{number}")
            person.sign_in(f"person{number}")
            found.append(person)
        return found

    def keep(self, crowd: Crowd, seconds: float, so_far: Callable[[], str]) -> None:
        """Let the crowd go on for so many seconds, and report `so_far` meanwhile."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            crowd.go_on(min(left, REPORT_EVERY))
            self.report(f"{seconds - max(0.0, ends - time.monotonic()):.0f} of {seconds:.0f} s: {so_far()}")


@dataclass(slots=True)
class Answers:
    """The answers to visitors in several threads. `read` and `write` raise AssertionError at an error page."""

    written: list[str] = field(default_factory=list)
    """Bodies of the posts that a server acknowledged."""
    pages: int = 0
    refused: int = 0
    """Posts that a server refused with 503 and Retry-After."""
    unavailable: int = 0
    """Pages that a server refused in the same way."""
    slowest: float = 0.0
    """Seconds that the slowest page took."""
    slowest_post: float = 0.0
    _number: count[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __str__(self) -> str:
        """Return the counts."""
        counts = f"{self.pages:,} pages, {len(self.written):,} posts"
        if self.unavailable:
            counts += f", {self.unavailable:,} pages refused"
        return f"{counts}, {self.refused:,} posts refused" if self.refused else counts

    def read(self, visitor: Client, path: str = "/") -> None:
        """Request a page."""
        began = time.monotonic()
        page = visitor.get(path)
        with self._lock:
            if page.status == 200:
                self.pages += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
            elif excused(page):
                self.unavailable += 1
            else:
                raise AssertionError(f"GET {path} was answered with {page.status}")

    def write(self, visitor: Client) -> None:
        """Publish a post."""
        body = f"post {next(self._number)}"
        began = time.monotonic()
        page = visitor.submit("/", body=body)
        with self._lock:
            if page.status == 302 and page.location == "/":
                self.written.append(body)
                self.slowest_post = max(self.slowest_post, time.monotonic() - began)
            elif excused(page):
                self.refused += 1
            else:
                raise AssertionError(f"POST / was answered with {page.status} {page.location}".strip())

    def assert_none_refused(self) -> None:
        """Check that no visitor was asked to try again later."""
        assert not self.refused + self.unavailable, f"{self.refused:,} posts and {self.unavailable:,} pages got 503"

    def assert_enough(self, seconds: float) -> None:
        """Check that the server answered at a rate that makes a trial of so many seconds, and each time soon."""
        assert self.pages >= PAGES_A_SECOND * seconds, f"only {self.pages:,} pages in {seconds:.0f} s"
        assert len(self.written) >= POSTS_A_SECOND * seconds, f"only {len(self.written):,} posts in {seconds:.0f} s"
        assert self.slowest < PATIENCE, f"a page took {self.slowest:.1f} s"
        assert self.slowest_post < PATIENCE, f"a post took {self.slowest_post:.1f} s"


class Crowd:
    """Visitors in threads, each of whom does one thing again and again until the end of the block.

    A visitor stops at any exception, an unanswered request included, and the end of the block then raises
    AssertionError. `breaks`: the trial breaks connections on purpose. The visitors count those and connect again.
    """

    def __init__(self, doing: Iterable[Callable[[], None]], *, breaks: bool = False) -> None:
        self.turns: list[int] = []
        """How often each visitor has done it."""
        self.broken = 0
        """Connections that broke on purpose, without the vain tries until the next answer."""
        self._breaks = breaks
        self._ends = threading.Event()
        self._stopped = threading.Event()
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._threads = []
        for number, each in enumerate(doing):
            self.turns.append(0)
            self._threads.append(threading.Thread(target=self._run, args=(number, each)))

    def __enter__(self) -> Self:
        """Start the visitors."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the visitors' last answers. Raise AssertionError if one stopped before, or never had an answer."""
        self._ends.set()
        for thread in self._threads:
            thread.join()
        self._assert_nobody_stopped()
        idle = self.turns.count(0)
        assert not idle, f"{idle} of {len(self.turns)} visitors had no answer"

    def go_on(self, seconds: float) -> None:
        """Let the visitors go on for so many seconds. Raise AssertionError as soon as one stops."""
        self._stopped.wait(seconds)
        self._assert_nobody_stopped()

    def until(self, ask: Callable[[], object], awaited: str) -> None:
        """Let the visitors go on until the answer is true.

        Raise AssertionError as soon as a visitor stops, or when the answer stays false; `awaited` is for its message.
        """
        wait_until(lambda: self._stopped.is_set() or ask(), awaited)
        self._assert_nobody_stopped()

    def until_all_go_on(self) -> None:
        """Wait until each visitor has had another answer."""
        # Two more: the first may be the end of a turn that began earlier.
        wanted = [turns + 2 for turns in self.turns]
        self.until(lambda: all(map(int.__ge__, self.turns, wanted)), "each visitor is answered")

    def _assert_nobody_stopped(self) -> None:
        if self._failures:
            first = self._failures[0]
            stopped = f"{len(self._failures)} of {len(self._threads)} visitors stopped"
            raise AssertionError(f"{stopped}, the first by {type(first).__name__}: {first}") from first

    def _run(self, number: int, each: Callable[[], None]) -> None:
        is_whole = True
        while not self._ends.is_set():
            try:
                each()
            except (OSError, HTTPException) as error:
                if not self._breaks:
                    self._stop(error)
                    return
                with self._lock:
                    self.broken += is_whole
                is_whole = False
                self._ends.wait(RETRY)
            except BaseException as error:  # noqa: BLE001  raised where the crowd ends
                self._stop(error)
                return
            else:
                is_whole = True
                self.turns[number] += 1

    def _stop(self, error: BaseException) -> None:
        self._failures.append(error)
        self._stopped.set()


def posts(folder: Path) -> list[str]:
    """Return the bodies of all posts in the blog's SQLite file, and check the file."""
    with closing(sqlite3.connect(folder / "instance" / "quartblog.sqlite3")) as database:
        [integrity] = database.execute("PRAGMA integrity_check").fetchone()
        assert integrity == "ok", integrity
        return [body for [body] in database.execute("SELECT body FROM posts")]


def assert_all_there(found: Sequence[str], written: Iterable[str]) -> None:
    """Check that every acknowledged post is in the database, once."""
    times = Counter(found)
    wanted = set(written)
    missing = [body for body in wanted if not times[body]]
    assert not missing, f"{len(missing)} of {len(wanted)} acknowledged posts are missing"
    twice = [body for body in wanted if times[body] > 1]
    assert not twice, f"{len(twice)} posts are there more than once"


def wait_until(ask: Callable[[], object], awaited: str) -> None:
    """Wait until the answer is true. Raise AssertionError, which says what was `awaited`, if it stays false."""
    try:
        eventually(ask)
    except AssertionError as error:
        raise AssertionError(f"{awaited}: {error}") from error


def quick(ask: Callable[[], Page], *, within: float) -> Page:
    """Ask, and check that the answer came within so many seconds."""
    began = time.monotonic()
    page = ask()
    took = time.monotonic() - began
    assert took < within, f"an answer took {took:.1f} s"
    return page


def excused(page: Page) -> bool:
    """Whether the answer asks the visitor to try again later."""
    return page.status == 503 and "Retry-After" in page.headers


def memory(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def descriptors(pid: int) -> int:
    """Return the number of open files of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
