"""Hypercorn applies `logconfig_dict` after the application's start: errors reach the log all the same."""

import socket
import sys

import pytest

from tests.support.processes import FACTORY, Servers, eventually, tracked

pytestmark = pytest.mark.server

TAKING_EVERYTHING_AWAY = """
[logconfig_dict]
version = 1
[logconfig_dict.root]
level = "CRITICAL"
"""


def test_a_logging_configuration_of_the_servers_own_hides_no_error(servers: Servers) -> None:
    folder = servers.site(errors={"rehearsal_route": True})
    (folder / "hypercorn.toml").write_text(tracked("hypercorn.toml") + TAKING_EVERYTHING_AWAY)
    servers.start([sys.executable, "-m", "quartblog.cli", "db", "upgrade"], folder).process.wait(30)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        command = [sys.executable, "-m", "hypercorn", "--config", "hypercorn.toml", "--workers=1"]
        command += ["--bind", f"fd://{bound.fileno()}", FACTORY]
        server = servers.start(command, folder, pass_fds=[bound.fileno()])
        server.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.wait_until("/healthz")
    eventually(lambda: "Logging was configured anew" in server.log)

    failed = server.client().get("/errors/rehearsal")

    assert failed.status == 500
    eventually(lambda: f"[id {failed.headers['X-Error-Id']}]" in server.log)
    assert '"delivery":"ok"' in server.client().get("/readyz").text
