"""`quartblog run` under a terminal or a service manager, which signal every process of a group at once."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

import quartblog

pytestmark = pytest.mark.server

CHECKOUT = Path(quartblog.__file__).parents[1]
PATIENCE = 60
"""Seconds: a start takes one, on a busy machine several."""


class Server:
    """A running `quartblog run`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.first_line = process.stdout.readline()

    @property
    def port(self) -> int:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.first_line)
        assert found, self.first_line
        return int(found[1])

    def status(self, path: str) -> int:
        """The status of a GET; a connection is taken even before the workers are ready, and waits for them."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal to the parent and its workers; return the exit code and the rest of the output."""
        os.killpg(self.process.pid, number)
        rest, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, rest


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Server]]:
    """Start the command in the test's folder; whatever is left of it is ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Server:
        process = subprocess.Popen(
            [sys.executable, "-m", "quartblog.cli", "run", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        started.append(process)
        return Server(process)

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C in a terminal", "a service manager"])
def test_a_signal_that_meets_every_process_ends_all_of_them_cleanly(
    start: Callable[..., Server], folder: Path, number: int
) -> None:
    server = start("--port", "0")

    assert server.status("/healthz") == 200
    assert server.status("/nowhere") == 404

    assert server.end(number) == (0, "")
    assert "微博已启动" in (folder / "logs" / "microblog.log").read_text("utf-8")
