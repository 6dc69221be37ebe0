"""The promises, and how each is tried."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from tests.endurance.trial import (
    PEOPLE,
    Answers,
    Crowd,
    Trial,
    assert_all_there,
    descriptors,
    memory,
    posts,
    quick,
    wait_until,
)
from tests.support.client import PASSWORD
from tests.support.postgres import Cluster
from tests.support.processes import eventually
from tests.support.small_disk import SmallDisk, mounting
from tests.support.smtp import Away, MailServer, dead_server, silent_server

if TYPE_CHECKING:
    from tests.support.client import Client
    from tests.support.processes import Server

READERS, WRITERS = 24, 8
PATHS = ("/", "/user/info/person0", "/user/edit", "/hello", "/?before=20")
# A worker may open this many files late, such as connections of the database's pool. A leak shows as hundreds.
SPARE = 10
# Failures beside each mail server, and seconds until the site gives up a session.
FAILURES, MAIL_TIMEOUT = 30, 5.0
# Seconds in which a page must come while the database refuses writes: less than SQLite's wait for a lock.
SLOW = 3.0
PROMPT: dict[str, object] = {"batch_seconds": 0.1, "window_seconds": 1.0, "mails_per_hour": 10_000}
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
BODIES = """
import contextlib, sqlite3, sys
with contextlib.closing(sqlite3.connect(sys.argv[1], timeout=60)) as database:
    for [body] in database.execute("SELECT body FROM posts"):
        print(body)
"""


class Promise(NamedTuple):
    """A sentence about the site, and a function that tries it, returns its counts, and raises if the site breaks it."""

    text: str
    attempt: Callable[[Trial], str]


def readers_and_writers(trial: Trial) -> str:
    """Let many read and write at once."""
    seconds = trial.pick(60, 3)
    trial.report(f"{READERS} readers and {WRITERS} writers for {seconds:.0f} s")
    folder = trial.folder()
    server = trial.servers.quartblog(folder)
    answers = Answers()
    people = trial.people(server, WRITERS)
    doing = [partial(answers.write, person) for person in people]
    doing += [partial(answers.read, server.client(), PATHS[number % 2]) for number in range(READERS)]
    with Crowd(doing) as crowd:
        trial.keep(crowd, seconds, answers.__str__)
    answers.assert_none_refused()
    answers.assert_enough(seconds)
    assert_log_is_clean(server)
    assert_all_there(posts(folder), answers.written)
    slowest = max(answers.slowest, answers.slowest_post)
    done = f"{answers}, all posts there; the slowest answer took {slowest:.1f} s"
    return f"{READERS} readers and {WRITERS} writers for {seconds:.0f} s: {done}"


def assert_log_is_clean(server: Server) -> None:
    """Check that the site logged no error, no warning and no lock."""
    bad = [line for line in server.log.splitlines() if re.search(r"ERROR|WARNING|locked", line)]
    assert not bad, f"the site logged {len(bad)} errors or warnings, the first: {bad[0]}"


def workers_killed(trial: Trial) -> str:
    """Kill a worker in the middle of writing, again and again."""
    kills = int(trial.pick(20, 2))
    trial.report(f"{kills} workers killed while {WRITERS} visitors write")
    folder = trial.folder()
    server = trial.servers.quartblog(folder)
    people = trial.people(server, WRITERS)
    answers = Answers()
    with Crowd([partial(answers.write, person) for person in people], breaks=True) as crowd:
        for kill in range(1, kills + 1):
            written, broken = len(answers.written) + random.randint(5, 60), crowd.broken
            crowd.until(partial(has_grown, answers.written, written), "more posts are acknowledged")
            os.kill(random.choice(server.workers), signal.SIGKILL)
            server.ended()
            # The other worker's end may cut off the last visitors.
            crowd.until(partial(have_broken, crowd, broken + WRITERS), "the kill breaks all connections")
            assert_all_there(posts(folder), answers.written)
            server = trial.servers.quartblog(folder)
            for person in people:
                person.url = server.url
            crowd.until_all_go_on()
            trial.report(f"{kill} of {kills} kills: {answers}, {crowd.broken} connections broke")
    assert_all_there(posts(folder), answers.written)
    done = f"{len(answers.written):,} acknowledged posts, all there; {crowd.broken} connections broke and were replaced"
    return f"{kills} workers killed (SIGKILL) under {WRITERS} writers: {done}; integrity check clean"


def has_grown(found: Sized, number: int) -> bool:
    """Whether there are at least so many."""
    return len(found) >= number


def have_broken(crowd: Crowd, number: int) -> bool:
    """Whether so many connections have broken on purpose."""
    return crowd.broken >= number


def aborted(trial: Trial) -> str:
    """Leave at random points of a request."""
    requests = int(trial.pick(500, 60))
    trial.report(f"{requests} requests aborted at random points")
    # With one connection a worker, a single one that a request keeps is missed by the next.
    folder = trial.folder(database={"pool_size": 1})
    server = trial.servers.quartblog(folder)
    people = trial.people(server)
    answers = Answers()
    doing = [partial(answers.write, person) for person in people[:4]]
    doing += [partial(answers.read, person) for person in people[4:]]
    with Crowd(doing) as crowd:
        crowd.until_all_go_on()
    before = {pid: descriptors(pid) for pid in server.workers}
    for number in range(requests):
        abort(server, people[0])
        if number % 25 == 24:
            assert quick(lambda: people[0].submit("/", body="between"), within=1.0).status == 302
    saved = sum(body.startswith("x") for body in posts(folder))
    slowest = 0.0
    for _ in range(12):
        began = time.monotonic()
        answers.write(people[0])
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1.0, f"a write after the aborts took {slowest:.1f} s"
    with Crowd(doing) as crowd:
        crowd.until_all_go_on()
    answers.assert_none_refused()
    assert_log_is_clean(server)
    assert_all_there(posts(folder), answers.written)
    more = more_files(before)
    return (
        f"{requests} requests aborted at random points ({saved} posts of them saved); {more:+d} open files a worker;"
        f" the slowest of the next 12 writes took {slowest * 1000:.0f} ms; then {answers}"
    )


def abort(server: Server, person: Client) -> None:
    """Begin a request and leave."""
    body = f"body={'x' * random.randint(0, 120)}".encode()
    path = random.choice(PATHS)
    post = random.random() < 0.5
    head = [
        f"{'POST / ' if post else f'GET {path} '}HTTP/1.1",
        "Host: 127.0.0.1",
        f"Cookie: {person.cookies}",
        "Sec-Fetch-Site: same-origin",
        *([f"Content-Length: {len(body)}", "Content-Type: application/x-www-form-urlencoded"] if post else []),
    ]
    request = "\r\n".join([*head, "", ""]).encode() + (body if post else b"")
    with socket.create_connection(("127.0.0.1", int(urlsplit(server.url).port or 0)), 10) as connection:
        connection.sendall(request[: random.randint(1, len(request))] if random.random() < 0.5 else request)
        time.sleep(random.choice((0, 0, 0.001, 0.003, 0.01)))


def soak(trial: Trial) -> str:
    """Run a mixed load with aborted requests for long, and measure memory and descriptors."""
    warm_up, seconds = trial.pick(60, 3), trial.pick(trial.minutes * 60, 5)
    trial.report(f"{PEOPLE} visitors with aborted requests and failures for {warm_up + seconds:.0f} s")
    folder = trial.folder()
    server = trial.servers.quartblog(folder)
    mix = Mix(server)
    before: dict[int, tuple[float, int]] = {}

    def so_far() -> str:
        grown = max((memory(pid) - megabytes for pid, (megabytes, _) in before.items()), default=0.0)
        return f"{mix}; a worker grew by {grown:.1f} MB"

    with Crowd([partial(mix.visit, person) for person in trial.people(server)]) as crowd:
        trial.keep(crowd, warm_up, so_far)
        before |= {pid: (memory(pid), descriptors(pid)) for pid in server.workers}
        trial.keep(crowd, seconds, so_far)
        crowd.until_all_go_on()
    mix.answers.assert_none_refused()
    mix.answers.assert_enough(warm_up + seconds)
    assert mix.aborts, "no request was aborted"
    assert mix.failures, "no page failed"
    assert set(server.workers) == set(before), "a worker was replaced"
    assert_all_there(posts(folder), mix.answers.written)
    grown = [memory(pid) - megabytes for pid, (megabytes, _) in before.items()]
    more = more_files({pid: files for pid, (_, files) in before.items()})
    assert max(grown) <= 20, f"a worker grew by {max(grown):.1f} MB"
    change = f"a worker grew by {max(grown):.1f} MB, {more:+d} open files"
    return f"{mix} in {(warm_up + seconds) / 60:.2g} min; in the last {seconds / 60:.2g} min {change}"


def more_files(before: dict[int, int]) -> int:
    """Return how many more files a worker has open than before. Raise AssertionError if they are many."""
    # The server may still close the visitors' last connections.
    with suppress(AssertionError):
        eventually(lambda: max(descriptors(pid) - files for pid, files in before.items()) <= SPARE, patience=20)
    more = max(descriptors(pid) - files for pid, files in before.items())
    assert more <= SPARE, f"a worker has {more} more open files"
    return more


class Mix:
    """A mixed load: pages, posts, failures and aborted requests."""

    def __init__(self, server: Server) -> None:
        self.answers = Answers()
        self.aborts = 0
        self.failures = 0
        self._server = server
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Return the counts."""
        return f"{self.answers}, {self.failures:,} failures, {self.aborts:,} aborts"

    def visit(self, person: Client) -> None:
        """Do one of the things that visitors do."""
        dice = random.random()
        if dice < 0.1:
            self.answers.write(person)
        elif dice < 0.2:
            abort(self._server, person)
            with self._lock:
                self.aborts += 1
        elif dice < 0.25:
            status = person.get("/errors/rehearsal").status
            assert status == 500, f"the failing page answered {status}"
            with self._lock:
                self.failures += 1
        else:
            self.answers.read(person, random.choice(PATHS))


def mail_servers(trial: Trial) -> str:
    """Fail with a mail server that is dead, silent, hangs up, or refuses everything."""
    with dead_server() as dead, silent_server() as silent, MailServer(Away) as away, MailServer("554 no") as refusing:
        ports = {"dead": dead, "silent": silent, "hanging up": away.port, "refusing": refusing.port}
        slowest = max(failing(trial, name, port) for name, port in ports.items())
    tried = f"{FAILURES} failures each with a mail server that is {', '.join(ports)}"
    return f"{tried}: the slowest page took {slowest:.2f} s, all errors kept"


def failing(trial: Trial, name: str, port: int) -> float:
    """Let pages fail beside a mail server that fails too, and return the seconds of the slowest page."""
    trial.report(f"{FAILURES} failures with a mail server that is {name}")
    mail = {"server": "127.0.0.1", "port": port, "admins": ["ada@example.org"], "timeout": MAIL_TIMEOUT}
    folder = trial.servers.site(name, mail=mail, errors={"rehearsal_route": True}, delivery=PROMPT)
    server = trial.servers.quartblog(folder, until="/healthz")
    visitor = server.client()
    took = []
    for _ in range(FAILURES):
        began = time.monotonic()
        assert visitor.get("/errors/rehearsal").status == 500
        took.append(time.monotonic() - began)
    assert max(took) < MAIL_TIMEOUT / 2, f"{name}: a page took {max(took):.1f} s"
    wait_until(lambda: "was not sent" in server.log, f"{name}: the site tries to mail")
    assert server.stop() == 0
    assert stored(folder) == FAILURES, f"{name}: {stored(folder)} of {FAILURES} errors are in the outbox"
    return max(took)


def stored(folder: Path) -> int:
    """Return the errors in the outbox."""
    with closing(sqlite3.connect(f"file:{folder}/instance/outbox.sqlite3?mode=ro", uri=True)) as database:
        [found] = database.execute("SELECT coalesce(sum(count), 0) FROM groups").fetchone()
        return int(found)


Fault: TypeAlias = tuple[str, AbstractContextManager[object]]


def under_load(trial: Trial, server: Server, faults: Iterable[Fault], *, stops_pages: bool = False) -> Answers:
    """Let visitors read and write through each fault.

    While a fault lasts, the site must refuse posts with 503 and Retry-After, and must show pages unless `stops_pages`.
    Afterwards each visitor must get the usual answers again.
    """
    answers = Answers()
    people = trial.people(server, 6)
    doing = [partial(answers.write, person) for person in people[:3]]
    doing += [partial(answers.read, person) for person in people[3:]]
    with Crowd(doing) as crowd:
        crowd.until_all_go_on()
        for name, fault in faults:
            trial.report(f"{name}, under 3 readers and 3 writers")
            with fault:
                suffer(crowd, answers, int(trial.pick(12, 3)), stops_pages=stops_pages)
                trial.report(f"so far {answers}")
            recover(crowd, answers)
    assert stops_pages or not answers.unavailable, f"{answers.unavailable} pages were refused too"
    assert answers.slowest < SLOW, f"a page took {answers.slowest:.1f} s"
    return answers


def suffer(crowd: Crowd, answers: Answers, several: int, *, stops_pages: bool) -> None:
    """Wait until several posts are refused, and several pages refused or, unless the fault stops them, shown."""
    refused = answers.refused + several
    crowd.until(lambda: answers.refused >= refused, "posts are refused during the fault")
    pages = (answers.unavailable if stops_pages else answers.pages) + several
    awaited = f"pages are {'refused' if stops_pages else 'shown'} during the fault"
    crowd.until(lambda: (answers.unavailable if stops_pages else answers.pages) >= pages, awaited)


def recover(crowd: Crowd, answers: Answers) -> None:
    """Wait until posts are saved and pages shown, and then see that no more are refused."""
    written, pages = len(answers.written) + 3, answers.pages + 3
    awaited = "posts are saved and pages shown after the fault"
    crowd.until(lambda: len(answers.written) >= written and answers.pages >= pages, awaited)
    # Each visitor may still wait for an answer from before.
    crowd.until_all_go_on()
    refused = answers.refused + answers.unavailable
    crowd.until_all_go_on()
    assert answers.refused + answers.unavailable == refused, "posts or pages are refused after the fault"


def database_locked(trial: Trial) -> str:
    """Hold the write lock of the blog's database."""
    folder = trial.folder()
    server = trial.servers.quartblog(folder)
    answers = under_load(trial, server, [("another program holds the write lock", locked(folder))])
    assert_all_there(posts(folder), answers.written)
    return f"another program held the write lock of SQLite: {answers}, slowest page {answers.slowest:.2f} s"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the write lock during the block."""
    with closing(sqlite3.connect(folder / "instance" / "quartblog.sqlite3", isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def disk_full(trial: Trial) -> str:
    """Fill the disk of the database, twice."""
    folder = trial.folder()
    point = folder / "instance"
    point.mkdir()
    server = trial.servers.quartblog(folder, until="/healthz", within=mounting(point))
    disk = SmallDisk(server, point)
    answers = under_load(trial, server, [(f"the disk is full, time {time}", filled(disk)) for time in (1, 2)])
    # SQLite follows /proc/N/root to the root of the process that asks.
    bodies = disk.run(sys.executable, "-c", BODIES, str(point / "quartblog.sqlite3"))
    assert_all_there(bodies.splitlines(), answers.written)
    return f"SQLite's disk was filled twice: {answers}, all acknowledged posts there"


@contextmanager
def filled(disk: SmallDisk) -> Iterator[None]:
    """Leave no room on the disk during the block."""
    disk.fill()
    yield
    disk.free()


def database_read_only(trial: Trial) -> str:
    """Start with SQLite on a read-only disk; make PostgreSQL read-only while it is used."""
    trial.report("a start with SQLite on a read-only disk")
    folder = trial.folder()
    point = folder / "instance"
    assert trial.servers.quartblog(folder).stop() == 0
    server = trial.servers.start([*read_only(point), *trial.servers.command("--port=0")], folder)
    assert server.ended() == 1
    assert "Error: the database does not answer" in server.stderr, server.stderr
    assert trial.servers.quartblog(folder).stop() == 0
    with Cluster() as cluster:
        site = trial.servers.site("postgresql", security={"limits": False}, database={"url": cluster.create("blog")})
        server = trial.servers.quartblog(site)
        answers = under_load(trial, server, [("PostgreSQL is read-only", refusing_writes(cluster))])
        assert_all_there(cluster.sql("SELECT body FROM posts", "blog").splitlines(), answers.written)
        assert server.stop() == 0
    return f"with SQLite on a read-only disk the start ended with a reason; PostgreSQL became read-only: {answers}"


def read_only(point: Path) -> list[str]:
    """Return the words that start a command for which this folder is read-only."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(point)]


@contextmanager
def refusing_writes(cluster: Cluster) -> Iterator[None]:
    """Make every new transaction of PostgreSQL read-only during the block."""
    for state in ("on", "off"):
        cluster.sql(f"ALTER SYSTEM SET default_transaction_read_only = {state}")
        cluster.sql("SELECT pg_reload_conf()")
        if state == "on":
            yield


def database_gone(trial: Trial) -> str:
    """Stop PostgreSQL and start it again, under load."""
    with Cluster() as cluster:
        server = trial.servers.quartblog(trial.folder(database={"url": cluster.create("blog")}))
        ways = {"stopped": signal.SIGINT, "killed": signal.SIGQUIT}
        faults = [(f"PostgreSQL is {name}", cluster.stopped(how)) for name, how in ways.items()]
        answers = under_load(trial, server, faults, stops_pages=True)
        assert_all_there(cluster.sql("SELECT body FROM posts", "blog").splitlines(), answers.written)
        assert server.stop() == 0
    return f"PostgreSQL was stopped, then killed: {answers}, all acknowledged posts there"


def log_folder_gone(trial: Trial) -> str:
    """Remove the folder of the log."""
    trial.report("the log's folder is removed 3 times")
    folder = trial.folder()
    server = trial.servers.quartblog(folder)
    visitor = server.client()
    for _ in range(3):
        wait_until((folder / "logs" / "microblog.log").exists, "the log has a file")
        shutil.rmtree(folder / "logs")
        page = visitor.get("/errors/rehearsal")
        assert page.status == 500
        wait_until(partial(is_logged, server, page.headers["X-Error-Id"]), "the failure is in the log")
        assert visitor.get("/").status == 200
    return "the log's folder was removed 3 times: the next failure is in a new file"


def is_logged(server: Server, error_id: str) -> bool:
    """Whether the log has a record with this id."""
    return error_id in server.log


def is_mailed(mail_server: MailServer, error_id: str) -> bool:
    """Whether a mail has this id."""
    return any(error_id in mail.text for mail in mail_server.mails)


def clock(trial: Trial) -> str:
    """Turn the wall clock forth and back by a day."""
    trial.report("the wall clock jumps by +1 d, -1 d, +1 h")
    assert FAKETIME is not None, "Debian's package faketime is not installed"
    with MailServer() as mail_server, turning(trial.servers.folder / "clock") as (turn, environment):
        folder = trial.folder(mail=mail_server.settings, delivery=PROMPT)
        server = trial.servers.quartblog(folder, within=environment)
        [person] = trial.people(server, 1)
        # A login that is not remembered ends after a day.
        person.submit("/login", username="person0", password=PASSWORD, remember_me="y")
        for number, jump in enumerate(("+0", "+86400", "-86400", "+3600")):
            turn(jump)
            assert person.get("/").status == 200
            assert "你好" in person.get("/").text, f"signed out by a jump of {jump} s"
            page = quick(lambda: person.get("/errors/rehearsal"), within=2.0)
            assert page.status == 500
            error_id = page.headers["X-Error-Id"]
            wait_until(partial(is_mailed, mail_server, error_id), f"the failure is mailed after a jump of {jump} s")
            assert person.submit("/", body=f"post {number}").status == 302
        assert server.stop() == 0
    return "the wall clock jumped by +1 d, -1 d, +1 h: pages, logins, posts and the mail of each failure went on"


@contextmanager
def turning(path: Path) -> Iterator[tuple[Callable[[str], None], list[str]]]:
    """Give a function that turns the clock by seconds, and the words before a command whose clock it turns."""

    def turn(seconds: str) -> None:
        path.write_text(seconds)

    turn("+0")
    yield (
        turn,
        [
            "env",
            f"LD_PRELOAD={FAKETIME}",
            f"FAKETIME_TIMESTAMP_FILE={path}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ],
    )


PROMISES = {
    "together": Promise("Many readers and writers meet no error, and the site loses no post.", readers_and_writers),
    "killed": Promise("A killed worker loses no acknowledged post.", workers_killed),
    "aborted": Promise("Aborted requests keep no connection and delay no write.", aborted),
    "soak": Promise("A worker grows by at most 20 MB and leaks no descriptor.", soak),
    "mail": Promise("A failing mail server delays no page and loses no error.", mail_servers),
    "locked": Promise("A locked database stops writes only, with 503.", database_locked),
    "read-only": Promise(
        "A read-only database stops writes only, with 503, or the start, with a reason.", database_read_only
    ),
    "full": Promise("A full disk stops writes only, with 503, until it has room.", disk_full),
    "gone": Promise("The site recovers by itself when its database is back.", database_gone),
    "log": Promise("The log creates its lost folder again.", log_folder_gone),
    "clock": Promise("A clock that jumps signs nobody out and delays no page and no mail.", clock),
}
