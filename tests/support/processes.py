"""Test -> real server processes in separate folders, which end with the test."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.support.client import Client

ROOT = Path(__file__).resolve().parents[2]
FACTORY = "quartblog.app:create_app()"

# Seconds a server may take to start or stop, far above the need of a loaded machine.
PATIENCE = 60.0

T = TypeVar("T")


def eventually(ask: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """Call `ask` until its answer is true, and return it. Raise AssertionError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {patience:g} s"
        time.sleep(0.02)
    return answer


class Server:
    """One server process with its workers, in a separate process group."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, outputs: tuple[Path, Path]) -> None:
        self.process = process
        self.folder = folder
        self.url = ""
        self._stdout, self._stderr = outputs

    @property
    def stdout(self) -> str:
        """The standard output so far."""
        return self._stdout.read_text("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """The standard error so far."""
        return self._stderr.read_text("utf-8", "replace")

    @property
    def log(self) -> str:
        """The content of all log files, the oldest record first."""
        kept = [path for path in (self.folder / "logs").glob("microblog.log*") if path.is_file()]
        return "".join(path.read_text("utf-8") for path in sorted(kept, key=_age, reverse=True))

    @property
    def workers(self) -> list[int]:
        """The ids of the worker processes, without multiprocessing's resource tracker."""
        return [pid for pid, command in _children(self.process.pid) if "spawn_main" in command]

    def client(self, **headers: str) -> Client:
        """Return a new visitor without cookies."""
        return Client(self.url, **headers)

    def run(self, *arguments: str, typed: str = "") -> str:
        """Run a `quartblog` command in the server's folder, and return its output. `typed` is standard input."""
        done = subprocess.run(
            [sys.executable, "-m", "quartblog.cli", *arguments],
            cwd=self.folder,
            env=environment() | {"PYTHONPATH": str(ROOT)},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_for_address(self) -> Self:
        """Wait until the server prints its address. Raise AssertionError, with the output, if it ends."""
        self.url = eventually(self._printed_address)
        return self

    def wait_until(self, path: str) -> Self:
        """Wait until the server answers a page with 200. Raise AssertionError, with the output, if it ends."""
        eventually(lambda: self._answers(path))
        return self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the parent process only."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait until parent and workers end, and return the exit code."""
        code = self.process.wait(PATIENCE)
        eventually(lambda: not self._any_left())
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait for the end, and return the exit code."""
        if self.process.poll() is None:
            self.send(number)
        return self.ended()

    def kill(self) -> None:
        """Kill the remaining processes of the group."""
        if self._any_left():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _assert_runs(self) -> None:
        assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.stdout}{self.stderr}"

    def _printed_address(self) -> str:
        self._assert_runs()
        return next((word for word in self.stdout.split() if word.startswith("http://127.0.0.1:")), "")

    def _answers(self, path: str) -> bool:
        self._assert_runs()
        try:
            return self.client().get(path).status == 200
        except OSError:
            return False

    def _any_left(self) -> bool:
        # Not killpg(…, 0), which also finds zombies; init may be slow to reap orphans.
        return any(group == self.process.pid and state != "Z" for _, _, group, state in _processes())


class Servers:
    """Starts servers below one folder, and kills them at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Server] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._started:
            server.kill()

    def site(self, name: str = "site", **sections: dict[str, object]) -> Path:
        """Create a working directory with these settings in its config.toml, and return it."""
        folder = self.folder / name
        folder.mkdir()
        configure(folder, **sections)
        return folder

    def quartblog(
        self, folder: Path, *options: str, workers: int = 2, until: str = "/readyz", within: Sequence[str] = ()
    ) -> Server:
        """Start `quartblog run` on a free port, wrapped in the command `within`, and wait for the page `until`."""
        command = [*within, *self.command("--port=0", f"--workers={workers}", *options)]
        return self.start(command, folder).wait_for_address().wait_until(until)

    @staticmethod
    def command(*options: str) -> list[str]:
        """Return the command `quartblog run` with the interpreter of the tests."""
        return [sys.executable, "-m", "quartblog.cli", "run", *options]

    def hypercorn(self, folder: Path, *, workers: int = 2) -> Server:
        """Start Hypercorn itself on a free port, as a service file would; wait for it with `wait_until`."""
        (folder / "hypercorn.toml").write_text(tracked("hypercorn.toml"), "utf-8")
        # Pass the open socket: another test could take a port that was only looked up.
        with socket.create_server(("127.0.0.1", 0)) as bound:
            command = [sys.executable, "-m", "hypercorn", "--config", "hypercorn.toml", f"--workers={workers}"]
            command += ["--bind", f"fd://{bound.fileno()}", FACTORY]
            server = self.start(command, folder, pass_fds=[bound.fileno()])
            server.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        return server

    def start(
        self, command: Sequence[str], folder: Path, *, pass_fds: Sequence[int] = (), installed: bool = False
    ) -> Server:
        """Start any command in a folder, with this checkout's code unless `installed`.

        The command writes its output to files beside the folder.
        """
        number = len(self._started)
        outputs = (self.folder / f"{folder.name}-{number}.stdout", self.folder / f"{folder.name}-{number}.stderr")
        with outputs[0].open("wb") as stdout, outputs[1].open("wb") as stderr:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment() if installed else environment() | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        server = Server(process, folder, outputs)
        self._started.append(server)
        return server


def tracked(name: str) -> str:
    """Return the text of a file from Git's index, because a developer may have edited the file itself.

    Without Git, return the text of the file.
    """
    try:
        shown = subprocess.run(["git", "show", f":./{name}"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return (ROOT / name).read_text("utf-8")
    return shown.stdout.decode()


def configure(folder: Path, **sections: dict[str, object]) -> None:
    """Write config.toml. JSON strings, numbers, lists and booleans are valid TOML."""
    lines: list[str] = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    (folder / "config.toml").write_text("\n".join(lines) + "\n", "utf-8")


def environment() -> dict[str, str]:
    """Return the environment without the variables that change settings or the imported code."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QUARTBLOG_", "MAIL_", "QUART_", "FLASK_", "PYTHONPATH"))
    }
    return kept | {"PYTHONUNBUFFERED": "1"}


def _age(path: Path) -> int:
    number = path.suffix.removeprefix(".")
    return int(number) if number.isdigit() else 0


def _children(parent: int) -> list[tuple[int, str]]:
    return [(pid, _command(pid)) for pid, above, _, _ in _processes() if above == parent]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _processes() -> list[tuple[int, int, int, str]]:
    """Return every process of this machine as (pid, parent, group, state)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name in the brackets may contain spaces and brackets.
            state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        found.append((int(folder.name), int(parent), int(group), state))
    return found
