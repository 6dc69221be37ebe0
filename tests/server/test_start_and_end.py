"""How a server starts, refuses to start, and ends: `quartblog run` and Hypercorn itself."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from quartblog import migrations
from tests.support.processes import Servers, eventually

pytestmark = pytest.mark.server

REHEARSAL: dict[str, object] = {"rehearsal_route": True}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_every_error_is_in_the_file(servers: Servers, number: signal.Signals) -> None:
    server = servers.quartblog(servers.site(errors=REHEARSAL))
    answered = [server.client().get("/errors/rehearsal").headers["X-Error-Id"] for _ in range(40)]

    assert server.stop(number) == 0

    assert sorted(re.findall(r"\[id (\w+)\]", server.log)) == sorted(answered)
    assert server.stderr == ""


def test_a_taken_port_is_one_clear_line(servers: Servers) -> None:
    first = servers.quartblog(servers.site("first"), workers=1)
    port = first.url.rpartition(":")[2]
    command = [sys.executable, "-m", "quartblog.cli", "run", f"--port={port}"]

    second = servers.start(command, servers.site("second"))

    assert second.ended() == 1
    assert second.stderr == (
        f"Error: another program listens on 127.0.0.1:{port}: stop it, or choose another port with --port\n"
    )
    assert first.client().get("/").status == 200


def test_hypercorn_itself_serves_a_migrated_database(servers: Servers) -> None:
    folder = servers.site(errors=REHEARSAL)
    migrate(folder)
    server = servers.hypercorn(folder).wait_until("/readyz")

    failed = server.client().get("/errors/rehearsal")

    assert len(server.workers) == 2
    assert server.client().get("/").status == 200
    error_id = failed.headers["X-Error-Id"]
    eventually(lambda: f"[id {error_id}]" in server.log)
    assert server.stop() == 0


def test_hypercorn_itself_says_what_to_do_about_missing_tables(servers: Servers) -> None:
    server = servers.hypercorn(servers.site())

    server.ended()

    assert "run `quartblog db upgrade`" in server.stderr.splitlines()[-1]
    assert "run `quartblog db upgrade`" in server.log
    assert " CRITICAL: " in server.log


def test_hypercorn_itself_names_a_setting_that_cannot_be_used(servers: Servers) -> None:
    server = servers.hypercorn(servers.site(logging={"level": "LOUD"}))

    server.ended()

    assert '[logging] level = "LOUD"' in server.stderr.splitlines()[-1]


def test_a_killed_worker_ends_the_server_which_says_so(servers: Servers) -> None:
    """A service manager has to start it again, so it must be able to see the failure."""
    folder = servers.site()
    server = servers.quartblog(folder)
    server.client().register("ada")

    os.kill(server.workers[0], signal.SIGKILL)

    assert server.ended() == 1
    assert "a worker ended by itself" in server.stderr
    restarted = servers.quartblog(folder)
    restarted.client().sign_in("ada")


@pytest.mark.parametrize("told_to_end", [False, True], ids=["alone", "by a service manager"])
def test_workers_whose_parent_is_killed_end_in_order_and_leave_the_port(servers: Servers, *, told_to_end: bool) -> None:
    folder = servers.site(errors=REHEARSAL)
    server = servers.quartblog(folder)
    workers = server.workers
    answered = [server.client().get("/errors/rehearsal").headers["X-Error-Id"] for _ in range(40)]

    server.send(signal.SIGKILL)
    server.process.wait()
    for worker in workers if told_to_end else []:
        # As systemd does with what is left of a service.
        os.kill(worker, signal.SIGTERM)

    assert server.ended() == -signal.SIGKILL
    assert sorted(re.findall(r"\[id (\w+)\]", server.log)) == sorted(answered)
    port = server.url.rpartition(":")[2]
    again = servers.start([sys.executable, "-m", "quartblog.cli", "run", f"--port={port}"], folder)
    assert again.wait_for_address().client().get("/").status == 200


def test_two_workers_prepare_a_fresh_folder_together(servers: Servers) -> None:
    server = servers.quartblog(servers.site(), workers=4)

    assert len(server.workers) == 4
    eventually(lambda: server.log.count("微博已启动") == 4)
    assert " ERROR: " not in server.log
    assert (server.folder / "instance" / "secret_key").stat().st_mode & 0o777 == 0o600
    server.client().register("ada")


def migrate(folder: Path) -> None:
    """Make the tables a server in this folder looks for."""
    migrations.upgrade(f"sqlite+aiosqlite:///{folder / 'instance' / 'quartblog.sqlite3'}")
