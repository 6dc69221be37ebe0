"""Server command -> the same command with a disk of 8 MB in a private mount namespace, which ends with the server."""

import subprocess
from contextlib import suppress
from pathlib import Path

from tests.support.processes import Server

# Larger than the outbox's write-ahead log before SQLite's first checkpoint.
SIZE = "8m"
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
_FILLER = "filler"


def mounting(point: Path, options: str = "rw") -> list[str]:
    """Return the words that start a command with the disk mounted at `point`."""
    mount = f'mount -t tmpfs -o size={SIZE},{options} tmpfs "$0" && exec "$@"'
    return [*_NAMESPACE, "sh", "-c", mount, str(point)]


def why_not(point: Path) -> str:
    """Return why this system cannot mount the disk at `point`; an empty string if it can."""
    try:
        done = subprocess.run([*mounting(point), "true"], capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        return str(error)
    return done.stderr if done.returncode else ""


class SmallDisk:
    """The disk of a running server, as seen from the test."""

    def __init__(self, server: Server, point: Path) -> None:
        self.server = server
        self.point = point
        self.path = Path(f"/proc/{server.process.pid}/root") / point.relative_to("/")
        """The path of the disk for the test's process."""

    def fill(self) -> None:
        """Fill the disk to the last byte."""
        with (self.path / _FILLER).open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(b"x" * 1024)

    def free(self) -> None:
        """Free the space that `fill` took."""
        (self.path / _FILLER).unlink()

    def make_writable(self) -> None:
        """Remount the disk for writing."""
        # Ignore the current options: they name user ids outside of the namespace.
        self.run("mount", "--options-mode=ignore", "-o", f"remount,rw,size={SIZE}", str(self.point))

    def run(self, *command: str) -> str:
        """Run a command in the server's namespaces, and return its standard output."""
        entered = ["nsenter", "--preserve-credentials", "--user", "--mount", f"--target={self.server.process.pid}"]
        return subprocess.run([*entered, *command], check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout
