"""The promises, and how each is tried."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from tests.endurance.trial import (
    Answers,
    Crowd,
    Trial,
    assert_all_there,
    descriptors,
    excused,
    heals,
    memory,
    quick,
)
from tests.support.client import PASSWORD
from tests.support.postgres import Cluster
from tests.support.processes import eventually
from tests.support.small_disk import SmallDisk, mounting
from tests.support.smtp import Away, MailServer, dead_server, silent_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.client import Client
    from tests.support.processes import Server

READERS, WRITERS = 24, 8
PATHS = ("/", "/user/info/person0", "/user/edit", "/hello", "/?before=20")
PROMPT: dict[str, object] = {"batch_seconds": 0.1, "window_seconds": 1.0, "mails_per_hour": 10_000}
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class Promise(NamedTuple):
    """What is promised, and a function that tries it and returns what it did. It raises where the promise breaks."""

    text: str
    attempt: Callable[[Trial], str]


def readers_and_writers(trial: Trial) -> str:
    """Let many read and write at once."""
    folder = trial.folder()
    server = trial.servers.quartblog(folder)
    answers = Answers()
    people = trial.people(server, WRITERS)
    doing = [partial(answers.write, person) for person in people]
    doing += [partial(answers.read, server.client(), PATHS[number % 2]) for number in range(READERS)]
    seconds = trial.pick(60, 3)
    with Crowd(doing) as crowd:
        time.sleep(seconds)
    assert not crowd.failures, crowd.failures[0]
    assert not answers.unexpected, f"{len(answers.unexpected)} other answers, such as {answers.unexpected[0]}"
    assert "locked" not in server.log
    assert_all_there(folder, answers.written)
    done = f"{answers.pages:,} pages, {len(answers.written):,} posts"
    return f"{READERS} readers and {WRITERS} writers for {seconds:.0f} s: {done}"


def workers_killed(trial: Trial) -> str:
    """Kill a worker in the middle of writing, again and again."""
    folder = trial.folder()
    server = trial.servers.quartblog(folder)
    people = trial.people(server, WRITERS)
    answers = Answers()
    kills = int(trial.pick(20, 2))
    for kill in range(kills):
        if kill:
            server = trial.servers.quartblog(folder)
            for person in people:
                person.url = server.url
        before = len(answers.written)
        with Crowd([partial(answers.write, person) for person in people]):
            wait_for(answers.written.__len__, before + random.randint(5, 60))
            os.kill(random.choice(server.workers), signal.SIGKILL)
            server.ended()
        assert_all_there(folder, answers.written)
    return f"{kills} workers killed (SIGKILL) under writes: {len(answers.written):,} acknowledged posts, file intact"


def wait_for(found: Callable[[], int], number: int) -> None:
    """Wait until there are more than `number`."""
    eventually(lambda: found() > number)


def aborted(trial: Trial) -> str:
    """Leave at random points of a request."""
    server = trial.servers.quartblog(trial.folder())
    [person] = trial.people(server, 1)
    requests = int(trial.pick(500, 60))
    for _ in range(requests):
        abort(server, person)
    answers = Answers()
    for _ in range(12):
        assert quick(lambda: person.submit("/", body="after"), within=1.0).status == 302
        answers.read(person)
    assert not answers.unexpected, answers.unexpected[0]
    return f"{requests} requests aborted at random points; the next 12 writes took less than 1 s each"


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
    """Run a mixed load with aborted requests for long, and look at memory and descriptors."""
    server = trial.servers.quartblog(trial.folder())
    people = trial.people(server)
    answers = Answers()
    doing = [partial(mix, answers, person, server) for person in people]
    with Crowd(doing) as crowd:
        time.sleep(trial.pick(60, 3))
        before = {pid: (memory(pid), descriptors(pid)) for pid in server.workers}
        time.sleep(trial.pick(trial.minutes * 60, 5))
    assert not crowd.failures, crowd.failures[0]
    assert not answers.unexpected, answers.unexpected[0]
    time.sleep(1)
    assert set(server.workers) == set(before), "a worker was replaced"
    grown = [memory(pid) - megabytes for pid, (megabytes, _) in before.items()]
    # A connection of the database's pool may be opened late; a leak shows as hundreds.
    more = [descriptors(pid) - files for pid, (_, files) in before.items()]
    assert max(grown) <= 20, f"a worker grew by {max(grown):.1f} MB"
    assert max(more) <= 10, f"a worker has {max(more)} more open files"
    return (
        f"{answers.pages:,} pages and {len(answers.written):,} posts in {trial.pick(trial.minutes, 0.1):g} min:"
        f" workers grew by {max(grown):.1f} MB, {max(more):+d} open files"
    )


def mix(answers: Answers, person: Client, server: Server) -> None:
    """Do one of the things that visitors do."""
    dice = random.random()
    if dice < 0.1:
        answers.write(person)
    elif dice < 0.2:
        abort(server, person)
    elif dice < 0.25:
        assert person.get("/errors/rehearsal").status == 500
    else:
        answers.read(person, random.choice(PATHS))


def mail_servers(trial: Trial) -> str:
    """Fail with a mail server that is dead, silent, or refuses everything."""
    with dead_server() as dead, silent_server() as silent, MailServer(Away) as refusing:
        for name, port in (("dead", dead), ("silent", silent), ("refusing", refusing.port)):
            mail = {"server": "127.0.0.1", "port": port, "admins": ["ada@example.org"], "timeout": 2.0}
            folder = trial.servers.site(name, mail=mail, errors={"rehearsal_route": True}, delivery=PROMPT)
            server = trial.servers.quartblog(folder, until="/healthz")
            visitor = server.client()
            took = []
            for _ in range(30):
                began = time.monotonic()
                assert visitor.get("/errors/rehearsal").status == 500
                took.append(time.monotonic() - began)
            assert statistics.median(took) < 0.5, f"{name}: a page took {statistics.median(took):.1f} s"
            wait_for(partial(stored, folder), 29)
            assert server.stop() == 0
    return "30 failures each with a mail server that is dead, silent, or hangs up: pages in time, all errors kept"


def stored(folder: Path) -> int:
    """Return the errors in the outbox."""
    with closing(sqlite3.connect(f"file:{folder}/instance/outbox.sqlite3?mode=ro", uri=True)) as database:
        [found] = database.execute("SELECT coalesce(sum(count), 0) FROM groups").fetchone()
        return int(found)


def database_locked(trial: Trial) -> str:
    """Hold the write lock of the blog's database."""
    folder = trial.folder()
    server = trial.servers.quartblog(folder)
    [person] = trial.people(server, 1)
    with closing(sqlite3.connect(folder / "instance" / "quartblog.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert quick(lambda: person.get("/"), within=2.0).status == 200
        assert excused(quick(lambda: person.submit("/", body="held"), within=10.0))
        other.execute("ROLLBACK")
    assert person.submit("/", body="free").status == 302
    return "another program held the write lock: pages went on, a post got 503 with Retry-After, the next one was saved"


def database_disk(trial: Trial) -> str:
    """Fill the disk of the database, and make it read-only."""
    folder = trial.folder()
    point = folder / "instance"
    point.mkdir()
    server = trial.servers.quartblog(folder, until="/healthz", within=mounting(point))
    disk = SmallDisk(server, point)
    [person] = trial.people(server, 1)
    disk.fill()
    refused = [person.submit("/", body=f"{number} " + "x" * 130) for number in range(60)]
    assert all(page.status == 302 or excused(page) for page in refused), {page.status for page in refused}
    assert person.get("/").status == 200
    disk.free()
    heals(lambda: person.submit("/", body="room"), 302)
    full = sum(map(excused, refused))
    assert full, "nothing was refused"
    return (
        f"the database's disk was full: {full} posts got 503 with Retry-After, pages went on; with room it wrote again"
    )


def database_gone(trial: Trial) -> str:
    """Stop PostgreSQL and start it again, under load."""
    with Cluster() as cluster:
        url = cluster.create("blog")
        server = trial.servers.quartblog(trial.folder(database={"url": url}))
        people = trial.people(server, 4)
        found: list[int] = []
        with Crowd([partial(note, found, person) for person in people]) as crowd:
            wait_for(partial(found.count, 302), 20)
            for how in (signal.SIGINT, signal.SIGQUIT):
                cluster.stop(how)
                wait_for(partial(found.count, 503), found.count(503) + 5)
                cluster.start()
                wait_for(partial(found.count, 302), found.count(302) + 20)
        assert not crowd.failures, crowd.failures[0]
        assert set(found) == {302, 503}, set(found)
        assert "你好" in people[0].get("/").text
        assert server.stop() == 0
    done = f"{found.count(302):,} posts saved, {found.count(503):,} got 503"
    return f"PostgreSQL was stopped and killed under writes: {done}, and it healed by itself"


def note(found: list[int], person: Client) -> None:
    """Publish, and note the status."""
    page = person.submit("/", body="hello")
    assert page.status != 503 or excused(page)
    found.append(page.status)


def log_folder_gone(trial: Trial) -> str:
    """Remove the folder of the log."""
    folder = trial.folder()
    server = trial.servers.quartblog(folder)
    visitor = server.client()
    for _ in range(3):
        eventually((folder / "logs" / "microblog.log").exists)
        shutil.rmtree(folder / "logs")
        page = visitor.get("/errors/rehearsal")
        assert page.status == 500
        eventually(partial(is_logged, server, page.headers["X-Error-Id"]))
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
            eventually(partial(is_mailed, mail_server, page.headers["X-Error-Id"]))
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
    "together": Promise("readers and writers lose nothing and meet no error", readers_and_writers),
    "killed": Promise("what was acknowledged survives a killed worker", workers_killed),
    "aborted": Promise("visitors who leave hold nothing", aborted),
    "soak": Promise("at most 20 MB more a worker, and no descriptor", soak),
    "mail": Promise("no mail server delays a page or loses an error", mail_servers),
    "locked": Promise("a locked database delays writes only", database_locked),
    "disk": Promise("a full disk refuses writes, and heals", database_disk),
    "gone": Promise("a database that goes away comes back by itself", database_gone),
    "log": Promise("the log is written without its folder", log_folder_gone),
    "clock": Promise("nothing waits for a clock that jumped", clock),
}
