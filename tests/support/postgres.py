"""A private PostgreSQL server for tests: Debian's binaries, a temporary folder, a Unix socket and no TCP port."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

# Seconds a server may take to start or stop, far above the need of a loaded machine.
PATIENCE = 60.0

# Fast options without durability: only a crash of the machine loses data, and the tests crash only the server.
_OPTIONS = {
    "listen_addresses": "",
    "max_connections": "60",
    "superuser_reserved_connections": "3",
    "shared_buffers": "16MB",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "deadlock_timeout": "50ms",
}


class Cluster:
    """One server. `postgres` is its superuser; `blog` owns the databases without that right, as on a real site."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="quartblog-pg-"))
        self._server: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            shutil.chown(self.folder, "postgres", "postgres")

    def __enter__(self) -> Self:
        """Create the cluster and start it."""
        try:
            self._run("initdb", "--pgdata", self._data, "--username=postgres", "--auth=trust", "--encoding=UTF8",
                      "--locale=C.UTF-8", "--no-sync", "--no-instructions")  # fmt: skip
            self.start()
            self.sql("CREATE ROLE blog LOGIN")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        options = [word for name, value in _OPTIONS.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [binary("postgres"), "-D", self._data, "-k", str(self.folder), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._account,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not self.answers:
            ended = self._server.poll() is not None or time.monotonic() > deadline
            assert not ended, (self.folder / "server.log").read_text()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server, by default without waiting for clients; SIGQUIT is a crash."""
        if self._server is None:
            return
        self._server.send_signal(how)
        try:
            self._server.wait(PATIENCE)
        finally:
            self._server.kill()
            self._server.wait()
            self._server = None

    @contextmanager
    def stopped(self, how: signal.Signals = signal.SIGINT) -> Iterator[None]:
        """Keep the server stopped during the block."""
        self.stop(how)
        try:
            yield
        finally:
            self.start()

    @property
    def answers(self) -> bool:
        """Whether the server accepts connections."""
        command = [binary("pg_isready"), "-q", "-h", str(self.folder), "-t", "1"]
        return subprocess.run(command, check=False).returncode == 0

    def url(self, database: str) -> str:
        """Return the URL of a database, as in config.toml."""
        return f"postgresql+asyncpg://blog@/{database}?host={self.folder}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as superuser. Return rows as lines, with columns separated by `|`."""
        return self._run("psql", "-h", str(self.folder), "-U", "postgres", "-d", database, "-XqAt",
                         "-v", "ON_ERROR_STOP=1", "-c", statement).strip()  # fmt: skip

    @contextmanager
    def holding(self, statement: str, database: str) -> Iterator[None]:
        """Keep another client's transaction open during the block; it has run the statement and holds its locks."""
        command = [binary("psql"), "-h", str(self.folder), "-U", "postgres", "-d", database, "-XqAt"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as other:
            assert other.stdin is not None
            assert other.stdout is not None
            print(f"BEGIN; {statement}; SELECT 'held';", file=other.stdin, flush=True)
            assert other.stdout.readline() == "held\n"
            yield

    @contextmanager
    def frozen(self, database: str) -> Iterator[None]:
        """Suspend the server processes of a database's connections during the block."""
        serving = self.sql(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'").split()
        for pid in serving:
            os.kill(int(pid), signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in serving:
                os.kill(int(pid), signal.SIGCONT)

    async def waiting(self, database: str, count: int = 1) -> None:
        """Return once `count` connections of a database wait for a lock. Raise TimeoutError."""
        asked = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
        async with asyncio.timeout(PATIENCE):
            while int(await asyncio.to_thread(self.sql, asked)) != count:
                pass

    def create(self, database: str, template: str = "template0") -> str:
        """Create a database and return its URL."""
        self.sql(f'CREATE DATABASE "{database}" OWNER blog TEMPLATE "{template}"')
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database and disconnect its clients."""
        self.sql(f'DROP DATABASE "{database}" WITH (FORCE)')

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _account(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {"cwd": self.folder}
        return {"cwd": self.folder, "user": "postgres", "group": "postgres", "extra_groups": []}

    def _run(self, program: str, *arguments: str) -> str:
        command = [binary(program), *arguments]
        done = subprocess.run(
            command, **self._account, check=False, capture_output=True, encoding="utf-8", timeout=PATIENCE
        )
        assert done.returncode == 0, f"{program}: {done.stderr or done.stdout}"
        return str(done.stdout)


def binary(program: str) -> str:
    """Return the path of a PostgreSQL program; Debian keeps most of them outside of PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    path = os.pathsep.join([*map(str, reversed(folders)), os.environ.get("PATH", os.defpath)])
    found = shutil.which(program, path=path)
    assert found, f"no {program} here: install Debian's package postgresql"
    return found
