"""The servers that are measured: each with two workers, in a folder of its own, on 127.0.0.1."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import ledger
from tests.endurance.trial import memory
from tests.support.processes import ROOT, Server, Servers, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.benchmarks.ledger import Ledger

WORKERS = 2
FAILING = "/errors/rehearsal"
PEERS = "tests.benchmarks.peers"
# Without a "propagate": uvicorn's own configuration would write each traceback to stderr as well.
UVICORN_LOGGING = '{"version": 1, "disable_existing_loggers": false}'
UVLOOP = find_spec("uvloop") is not None
HTTPTOOLS = find_spec("httptools") is not None


@dataclass(slots=True)
class Site:
    """A running server."""

    server: Server
    port: int
    launch: Callable[[str], Site]
    """Starts such a server, and waits until it answers this path."""
    errors: int = 0
    """How many failures it has answered."""

    def ledger(self) -> Ledger | None:
        """What became of these; None for a site that keeps no books."""
        outbox = self.server.folder / "instance/outbox.sqlite3"
        return ledger.read(outbox, WORKERS, self.errors) if outbox.exists() else None

    def settle(self, patience: float = 30.0) -> None:
        """Wait until it is idle: what one run left behind must not slow the next one of somebody else."""
        deadline = time.monotonic() + patience
        before = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(0.25)
            now = self.cpu_seconds()
            if now - before <= 0.03:
                return
            before = now

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far."""
        return sum(int(fields[11]) + int(fields[12]) for _, fields in self._processes()) / 100

    def worker_megabytes(self) -> float:
        """Resident memory of its largest worker."""
        pids = [pid for pid, _ in self._processes() if pid != self.server.process.pid]
        return max(memory(pid) for pid in pids)

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self.server.process.pid:
                yield int(stat.parent.name), fields


class Sites:
    """Starts each server when it is first asked for."""

    def __init__(self, servers: Servers, mail_port: int) -> None:
        self._servers = servers
        self._mail = {"server": "127.0.0.1", "port": mail_port, "admins": ["ada@example.org"]}
        self._started: dict[str, Site] = {}
        self._failed: dict[str, Exception] = {}

    def get(self, name: str) -> Site:
        """The blog as "ours" and without any handler as "bare", or the peers "flask" and "starlette".

        What could not be started is not tried again: every row that needs it tells the same reason, at once.
        """
        if name in self._failed:
            raise self._failed[name]
        if name not in self._started:
            try:
                self._started[name] = getattr(self, f"_{name}")()
            except Exception as error:
                self._failed[name] = error
                raise
        return self._started[name]

    def _ours(self) -> Site:
        return self._blog("ours", "quartblog.app:create_app()")

    def _bare(self) -> Site:
        return self._blog("bare", f"{PEERS}.bare:create_app()")

    def _blog(self, name: str, factory: str) -> Site:
        folder = self._servers.site(name, mail=self._mail, security={"limits": False}, errors={"rehearsal_route": True})
        upgrade(folder)
        return self._hypercorn(folder, factory, "/healthz")

    def _hypercorn(self, folder: Path, factory: str, until: str, code: Path = ROOT) -> Site:
        shutil.copy(ROOT / "hypercorn.toml", folder)
        options = ["--config", "hypercorn.toml", f"--workers={WORKERS}"]
        # As `quartblog run` does.
        options += ["--worker-class", "uvloop"] if UVLOOP else []
        return self._start(folder, "hypercorn", [*options, "--bind", "fd://{fd}", factory], until, code=code)

    def _flask(self) -> Site:
        folder = self._servers.site("flask", mail=self._mail)
        options = [f"--workers={WORKERS}", "--bind=fd://{fd}", "--log-level=error", f"{PEERS}.flask_smtp:app"]
        return self._start(folder, "gunicorn", options, "/")

    def _starlette(self) -> Site:
        folder = self._servers.site("starlette", mail=self._mail)
        (folder / "logging.json").write_text(UVICORN_LOGGING)
        options = [f"--workers={WORKERS}", "--fd={fd}", "--no-access-log", "--log-config=logging.json"]
        options += ["--log-level=error", f"{PEERS}.starlette_queue:app"]
        return self._start(folder, "uvicorn", options, "/")

    def _start(self, folder: Path, module: str, options: Sequence[str], until: str, *, code: Path = ROOT) -> Site:
        def start() -> Server:
            with socket.create_server(("127.0.0.1", 0), backlog=512) as bound:
                command = ["env", f"PYTHONPATH={code}", sys.executable, "-m", module]
                command += [option.format(fd=bound.fileno()) for option in options]
                server = self._servers.start(command, folder, pass_fds=[bound.fileno()])
                server.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            return server

        return self._launch(start, until)

    def _launch(self, start: Callable[[], Server], until: str) -> Site:
        server = start().wait_until(until)
        return Site(server, int(server.url.rpartition(":")[2]), partial(self._launch, start))


def upgrade(folder: Path) -> None:
    """Make the tables of the blog in this folder."""
    command = [sys.executable, "-m", "quartblog.cli", "db", "upgrade"]
    own_code = environment() | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=own_code, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def mail_server(delay: float) -> Iterator[int]:
    """Run a mail server that acknowledges each mail after `delay` seconds, in its own process; gives its port."""
    command = [sys.executable, "-m", f"{PEERS}.mail_server", str(delay)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()
