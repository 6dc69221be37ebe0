"""Real servers for tests: started in a folder of their own, waited for, and gone when the test is."""

import json
import os
import shutil
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

# Seconds a server may take to start or to stop: a bound for one that hangs, far above what a loaded machine needs.
PATIENCE = 60.0

T = TypeVar("T")


def eventually(ask: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """Ask until the answer is true, and return it. Raise AssertionError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {patience:g} s"
        time.sleep(0.02)
    return answer


class Server:
    """One server process with its workers, in a process group of their own."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, outputs: tuple[Path, Path]) -> None:
        self.process = process
        self.folder = folder
        self.url = ""
        self._stdout, self._stderr = outputs

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._stdout.read_text("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """What it has complained about so far."""
        return self._stderr.read_text("utf-8", "replace")

    @property
    def log(self) -> str:
        """Every log file there is, the oldest record first."""
        kept = [path for path in (self.folder / "logs").glob("microblog.log*") if path.is_file()]
        return "".join(path.read_text("utf-8") for path in sorted(kept, key=_age, reverse=True))

    @property
    def workers(self) -> list[int]:
        """The processes that answer, without the helper that multiprocessing keeps beside them."""
        return [pid for pid, command in _children(self.process.pid) if "spawn_main" in command]

    def client(self, **headers: str) -> Client:
        """A visitor who has not been here before."""
        return Client(self.url, **headers)

    def wait_for_address(self) -> Self:
        """Wait until it has printed where it is. Raise AssertionError, with the output, for one that ended."""
        self.url = eventually(self._printed_address)
        return self

    def wait_until(self, path: str) -> Self:
        """Wait until a page is answered 200. Raise AssertionError, with the output, for a server that ended."""
        eventually(lambda: self._answers(path))
        return self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the parent alone."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for its own end, workers included, and return the exit code."""
        code = self.process.wait(PATIENCE)
        eventually(lambda: not self._any_left())
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, wait, and return the exit code."""
        if self.process.poll() is None:
            self.send(number)
        return self.ended()

    def kill(self) -> None:
        """End whatever is left of it, at once."""
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
        # Not killpg(…, 0): a process nobody has waited for yet counts there, and the parent of orphans takes its time.
        return any(group == self.process.pid and state != "Z" for _, _, group, state in _processes())


class Servers:
    """Starts servers below one folder; on leaving, none of them is left, however the test ended."""

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
        """Make a working directory with these settings in its config.toml, and return it."""
        folder = self.folder / name
        folder.mkdir()
        configure(folder, **sections)
        return folder

    def quartblog(
        self, folder: Path, *options: str, workers: int = 2, until: str = "/readyz", within: Sequence[str] = ()
    ) -> Server:
        """Start `quartblog run` on a free port, behind the words of `within`, and wait until `until` is answered."""
        command = [*within, *self.command("--port=0", f"--workers={workers}", *options)]
        return self.start(command, folder).wait_for_address().wait_until(until)

    @staticmethod
    def command(*options: str) -> list[str]:
        """`quartblog run`, with the interpreter of the tests."""
        return [sys.executable, "-m", "quartblog.cli", "run", *options]

    def hypercorn(self, folder: Path, *, workers: int = 2) -> Server:
        """Start the server itself on a free port, as a service file would; wait for it with `wait_until`."""
        shutil.copy(ROOT / "hypercorn.toml", folder)
        # Handed over open: a free port that is only looked up may be another test's a moment later.
        with socket.create_server(("127.0.0.1", 0)) as bound:
            command = [sys.executable, "-m", "hypercorn", "--config", "hypercorn.toml", f"--workers={workers}"]
            command += ["--bind", f"fd://{bound.fileno()}", FACTORY]
            server = self.start(command, folder, pass_fds=[bound.fileno()])
            server.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        return server

    def start(
        self, command: Sequence[str], folder: Path, *, pass_fds: Sequence[int] = (), installed: bool = False
    ) -> Server:
        """Start any command in a folder, with this checkout's code unless it is `installed`.

        Its output goes to files beside the folder, not into it.
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


def configure(folder: Path, **sections: dict[str, object]) -> None:
    """Write config.toml. A JSON string, number, list and boolean is one in TOML too."""
    lines: list[str] = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    (folder / "config.toml").write_text("\n".join(lines) + "\n", "utf-8")


def environment() -> dict[str, str]:
    """This process's environment without what would change a setting, or the code."""
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
    """Every process of this machine as (pid, parent, group, state)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name in the brackets may hold spaces and brackets itself.
            state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        found.append((int(folder.name), int(parent), int(group), state))
    return found
