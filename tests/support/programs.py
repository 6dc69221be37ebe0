"""Python source -> a separate process, with a time limit for it and its children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.support.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# Seconds after which a program counts as hanging, far above the need of a loaded machine.
PATIENCE = 120.0


def start(
    source: str, *arguments: object, folder: Path | None = None, path: Path = ROOT, forks: bool = False
) -> subprocess.Popen[str]:
    """Start a Python that runs the source in a folder, with the packages of `path`. Warnings are errors in it.

    With `forks`, coverage.py does not measure it: a child that is forked while another thread holds coverage.py's lock
    waits forever. The program then also ignores the warning of Python 3.12 about a fork in a process with threads.
    """
    kept = {name: value for name, value in os.environ.items() if not (forks and name.startswith("COVERAGE"))}
    fork_with_threads = ["-W", "ignore:This process:DeprecationWarning"] if forks else []
    return subprocess.Popen(
        [sys.executable, "-W", "error", *fork_with_threads, "-c", source, *map(str, arguments)],
        cwd=folder,
        env=kept | {"PYTHONPATH": os.fspath(path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], patience: float = PATIENCE) -> tuple[int, str, str]:
    """Wait for the end; return the exit code, and the unread standard output and error.

    Raise AssertionError, with the output, if the program runs for longer than `patience` seconds. Its children are
    killed too, because they keep its output open and reading it would never end.
    """
    try:
        printed, complained = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        printed, complained = killed(process)
        raise AssertionError(f"it hangs: {printed}{complained}") from None
    return process.returncode, printed, complained


def killed(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Kill the program and its children; return the unread standard output and error."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()


def output(process: subprocess.Popen[str]) -> str:
    """Wait for the end; return standard output. Raise AssertionError if it fails or writes to standard error."""
    code, printed, complained = ended(process)
    assert (code, complained) == (0, ""), f"it ended with {code}: {printed}{complained}"
    return printed
