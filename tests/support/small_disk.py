"""A disk of eight megabytes that one server alone sees: mounted in a namespace of its own, and gone with the server."""

import subprocess
from contextlib import suppress
from pathlib import Path

from tests.support.processes import Server

# More than the log of the outbox takes before SQLite first writes it back.
SIZE = "8m"
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
_FILLER = "filler"


def mounting(point: Path, options: str = "rw") -> list[str]:
    """What stands before a command that is to find the disk at `point`."""
    mount = f'mount -t tmpfs -o size={SIZE},{options} tmpfs "$0" && exec "$@"'
    return [*_NAMESPACE, "sh", "-c", mount, str(point)]


def why_not(point: Path) -> str:
    """Why this system lets nobody mount one at `point`, or nothing."""
    try:
        done = subprocess.run([*mounting(point), "true"], capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        return str(error)
    return done.stderr if done.returncode else ""


class SmallDisk:
    """The disk of a running server, from outside."""

    def __init__(self, server: Server, point: Path) -> None:
        self.server = server
        self.point = point
        self.path = Path(f"/proc/{server.process.pid}/root") / point.relative_to("/")
        """Where this process finds what is on it."""

    def fill(self) -> None:
        """Leave no byte."""
        with (self.path / _FILLER).open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(b"x" * 1024)

    def free(self) -> None:
        """Give it back."""
        (self.path / _FILLER).unlink()

    def make_writable(self) -> None:
        """Mount it again, for writing."""
        # Its options now are told with numbers of the outer users, which mean nothing inside.
        self.run("mount", "--options-mode=ignore", "-o", f"remount,rw,size={SIZE}", str(self.point))

    def run(self, *command: str) -> str:
        """Run a command that finds the disk at its point, and return what it prints."""
        entered = ["nsenter", "--preserve-credentials", "--user", "--mount", f"--target={self.server.process.pid}"]
        return subprocess.run([*entered, *command], check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout
