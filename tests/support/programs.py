"""Small Python programs in processes of their own: waited for, but not for ever, with whatever they started."""

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

# Seconds until a program hangs: far above what any needs on a loaded machine.
PATIENCE = 120.0


def start(
    source: str, *arguments: object, folder: Path | None = None, path: Path = ROOT, forks: bool = False
) -> subprocess.Popen[str]:
    """Start a Python that runs the source in a folder, with the packages of `path`; what it is warned of ends it.

    One that forks is not measured: coverage.py has a lock of its own, and a child made while another thread holds it
    waits for ever. Nor does the warning of Python 3.12 and later end it that a process with threads forks.
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


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for its end; return the exit code and what it printed and complained about since it was last read.

    Raise AssertionError, with the same, when it hangs. Its children end with it then: they hold its output open, which
    would be read for ever.
    """
    try:
        printed, complained = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        printed, complained = killed(process)
        raise AssertionError(f"it hangs: {printed}{complained}") from None
    return process.returncode, printed, complained


def killed(process: subprocess.Popen[str]) -> tuple[str, str]:
    """End it and its children at once; return what it printed and complained about since it was last read."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()


def output(process: subprocess.Popen[str]) -> str:
    """Wait for its end; return what it printed. Raise AssertionError when it fails or complains."""
    code, printed, complained = ended(process)
    assert (code, complained) == (0, ""), f"it ended with {code}: {printed}{complained}"
    return printed
