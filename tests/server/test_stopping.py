"""A stop always ends, within graceful_timeout + shutdown_timeout, whatever a worker does."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import Server, Servers, eventually, tracked

pytestmark = pytest.mark.server

REHEARSAL: dict[str, object] = {"rehearsal_route": True}
BOUND = 3
"""Seconds a stop may take here: graceful_timeout + shutdown_timeout below."""
MARGIN = 5
"""Seconds a busy machine may take besides, for the parent's record and the interpreter's end."""


@pytest.fixture
def folder(servers: Servers) -> Path:
    """A site whose stop is short."""
    folder = servers.site(errors=REHEARSAL)
    text = tracked("hypercorn.toml")
    for key, seconds in (("graceful_timeout", 1), ("shutdown_timeout", 2)):
        text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {seconds}", text)
    (folder / "hypercorn.toml").write_text(text, "utf-8")
    return folder


def timed(stop: Callable[[], int]) -> tuple[int, float]:
    """The exit code of a stop, and how many seconds it took."""
    began = time.monotonic()
    return stop(), time.monotonic() - began


def connect(server: Server) -> socket.socket:
    """A client that sends what it likes."""
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30)


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_a_worker_that_hangs_is_killed_and_reported(
    servers: Servers, folder: Path, number: signal.Signals, workers: int
) -> None:
    server = servers.quartblog(folder, workers=workers)
    os.kill(server.workers[0], signal.SIGSTOP)

    code, seconds = timed(lambda: server.stop(number))

    said = f"a worker was killed because the stop took more than {BOUND} s"
    assert code == 1
    assert BOUND <= seconds < BOUND + MARGIN
    assert server.stderr == f"Error: {said}\n"
    assert f" ERROR: {said} [in " in server.log


@pytest.mark.parametrize("workers", [1, 2])
def test_a_form_that_never_ends_holds_no_stop_and_is_answered(servers: Servers, folder: Path, workers: int) -> None:
    server = servers.quartblog(folder, workers=workers)
    with connect(server) as client:
        client.sendall(
            b"POST /login HTTP/1.1\r\nHost: blog.example\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 200\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername="
        )
        # A worker answers in turn: what was sent before has arrived by then.
        for _ in range(20):
            server.client().get("/hello")

        code, seconds = timed(server.stop)
        answer = client.makefile("rb").read()

    assert (code, server.stderr) == (0, "")
    assert seconds < BOUND + MARGIN
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: " in answer
    assert " ERROR: " not in server.log


def test_an_anonymous_connection_makes_no_site_unstoppable(servers: Servers, folder: Path) -> None:
    """HTTP/2 by prior knowledge: data for a stream that was answered, beside one that is open."""
    server = servers.quartblog(folder)
    with connect(server) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")

        assert client.makefile("rb").read().startswith(b"HTTP/1.1 505 ")

    assert server.client().get("/hello").status == 200
    code, seconds = timed(server.stop)
    assert (code, server.stderr) == (0, "")
    assert seconds < BOUND + MARGIN


def test_a_hangup_puts_new_workers_in_the_place_of_the_old_and_loses_nothing(servers: Servers) -> None:
    server = servers.quartblog(servers.site(errors=REHEARSAL))
    before = server.workers
    answered = [server.client().get("/errors/rehearsal").headers["X-Error-Id"] for _ in range(40)]

    os.killpg(server.process.pid, signal.SIGHUP)

    eventually(lambda: len(server.workers) == 2 and not set(server.workers) & set(before))
    assert server.client().get("/hello").status == 200
    assert server.stop() == 0
    assert sorted(re.findall(r"\[id (\w+)\]", server.log)) == sorted(answered)
    assert server.stderr == ""


def test_a_hangup_beside_a_mistake_in_the_settings_changes_nothing_and_says_why(servers: Servers, folder: Path) -> None:
    server = servers.quartblog(folder)
    before = server.workers
    # One that starts now would meet the mistake as well.
    eventually(lambda: server.log.count("微博已启动") == 2)
    (folder / "config.toml").write_text('[site]\nname = ""\n', "utf-8")

    server.send(signal.SIGHUP)

    eventually(lambda: "the restart by SIGHUP is refused, the running workers stay: " in server.stderr)
    assert '[site] name = ""' in server.stderr
    assert server.workers == before
    assert server.client().get("/hello").status == 200
    assert server.stop() == 0, server.stderr
    assert " ERROR: the restart by SIGHUP is refused" in server.log


def test_a_stop_during_a_restart_ends_within_the_bound_and_tells_of_the_worker_that_was_killed(
    servers: Servers, folder: Path
) -> None:
    server = servers.quartblog(folder)
    eventually(lambda: server.log.count("微博已启动") == 2)
    os.kill(server.workers[0], signal.SIGSTOP)
    server.send(signal.SIGHUP)

    code, seconds = timed(server.stop)

    assert code == 1
    assert seconds < BOUND + MARGIN
    assert "was killed because" in server.stderr
    assert server.log.count("微博已启动") == 2, "no worker was started for nothing"


def test_a_worker_that_dies_during_the_stop_is_reported(servers: Servers, folder: Path) -> None:
    server = servers.quartblog(folder)
    worker = server.workers[0]
    os.kill(worker, signal.SIGSTOP)
    server.send(signal.SIGTERM)
    os.kill(worker, signal.SIGKILL)

    assert server.ended() == 1
    assert server.stderr == f"Error: a worker failed while it stopped (process {worker} by signal 9)\n"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_worker_alone_is_left_to_the_parent(servers: Servers, number: signal.Signals) -> None:
    server = servers.quartblog(servers.site())

    for worker in server.workers:
        os.kill(worker, number)

    assert server.client().get("/hello").status == 200
    assert server.process.poll() is None
    assert server.stop() == 0


def test_a_signal_during_the_start_of_the_workers_ends_all_of_them(servers: Servers) -> None:
    folder = servers.site()
    server = servers.start(servers.command("--port=0", "--workers=4"), folder).wait_for_address()

    os.killpg(server.process.pid, signal.SIGTERM)

    assert server.ended() == 0
    assert "Traceback" not in server.stderr


def test_two_signals_end_it_once(servers: Servers, folder: Path) -> None:
    server = servers.quartblog(folder)
    os.kill(server.workers[0], signal.SIGSTOP)

    server.send(signal.SIGTERM)
    server.send(signal.SIGINT)

    assert server.ended() == 1
    assert server.stderr.count("\n") == 1


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def odd_site(request: pytest.FixtureRequest, servers: Servers, folder: Path) -> Server:
    """A site with the views of tests/server/odd_site.py."""
    command = [sys.executable, "-m", "tests.server.odd_site", str(request.param)]
    return servers.start(command, folder).wait_for_address().wait_until("/readyz")


@pytest.mark.parametrize(("path", "name"), [("/exits", "SystemExit: 3"), ("/interrupts", "KeyboardInterrupt")])
def test_a_task_that_ends_the_program_is_a_failure_of_its_request_alone(odd_site: Server, path: str, name: str) -> None:
    workers = odd_site.workers
    failed = [odd_site.client().get(path) for _ in range(4)]

    assert [page.status for page in failed] == [500] * 4
    assert odd_site.client().get("/hello").status == 200
    assert odd_site.workers == workers
    assert odd_site.stop() == 0
    ids = re.findall(r" ERROR: .* \[id (\w+)\]", odd_site.log)
    assert sorted(ids) == sorted(page.headers["X-Error-Id"] for page in failed)
    assert name in odd_site.log


def test_a_callback_that_ends_the_program_is_a_failure_and_no_end(odd_site: Server) -> None:
    assert odd_site.client().get("/callback").text == "done"

    assert odd_site.client().get("/hello").status == 200
    assert odd_site.stop() == 0
    assert odd_site.log.count(" ERROR: Exception in callback [in ") == 1


def test_an_open_stream_holds_no_stop(odd_site: Server) -> None:
    with connect(odd_site) as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: blog.example\r\n\r\n")
        reading = client.makefile("rb")
        while b"first" not in reading.readline():
            pass

        code, seconds = timed(odd_site.stop)

    assert (code, odd_site.stderr) == (0, "")
    assert seconds < BOUND + MARGIN
    assert " ERROR: " not in odd_site.log


@pytest.mark.parametrize(("path", "said"), [("/stubborn", "stubborn now"), ("/blocks", "blocking now")])
def test_a_view_that_ends_for_nobody_holds_no_stop(odd_site: Server, path: str, said: str) -> None:
    with connect(odd_site) as client:
        client.sendall(b"GET %s HTTP/1.1\r\nHost: blog.example\r\n\r\n" % path.encode())
        eventually(lambda: said in odd_site.log)

        code, seconds = timed(odd_site.stop)

    assert code == 1
    assert seconds < BOUND + MARGIN
    assert odd_site.stderr == f"a worker was killed because the stop took more than {BOUND} s\n"
