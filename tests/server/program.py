"""One process that runs tests/server/failing.py, as the test sees it: orders go in, answers and complaints come out."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

from tests.server.failing import READY

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds a program may take for anything, a storm of a minute too: a bound for one that hangs.
PATIENCE = 120.0


@dataclass(frozen=True)
class Answer:
    """One failure that the delivery has accepted."""

    error_id: str
    at: float
    """Second of the clock that all processes of a machine share, `time.monotonic`."""


class Program:
    """One process of a host."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """What it prints is read from now on, so that it never waits for its reader."""
        self.process = process
        self._answers: list[Answer] = []
        self._complaints: list[str] = []
        self._ready = False
        self._silent = 0
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, self._hear), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self._complaints.append), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def answers(self) -> list[Answer]:
        """The failures it has reported so far."""
        with self._changed:
            return list(self._answers)

    @property
    def stderr(self) -> str:
        """What it has complained about so far."""
        with self._changed:
            return "".join(self._complaints)

    def wait_until_ready(self) -> Self:
        """Wait until its delivery runs."""
        self._wait(lambda: self._ready)
        return self

    def fail(self, times: int, kind: str = "Fault", *, pause: float = 0.0) -> None:
        """Have it fail so often, with so many seconds between two failures; returns at once."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"times": times, "kind": kind, "pause": pause}) + "\n")
        self.process.stdin.flush()

    def wait_for(self, count: int) -> list[Answer]:
        """Wait until it has reported so many failures since its start; return all there are."""
        self._wait(lambda: len(self._answers) >= count)
        return self.answers

    def kill(self) -> float:
        """End it as the kernel does when memory is short; return the moment before."""
        at = time.monotonic()
        self.process.send_signal(signal.SIGKILL)
        self._gone()
        return at

    def end(self) -> int:
        """Let it stop its delivery, wait, and return its exit code."""
        if self.process.stdin:
            self.process.stdin.close()
        return self._gone()

    def limit_files(self, size: int | None) -> None:
        """Let no file it writes grow beyond so many bytes, as a full disk does; None takes the limit back."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

    def _gone(self) -> int:
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        return code

    def _wait(self, come: Callable[[], bool]) -> None:
        with self._changed:
            done = self._changed.wait_for(lambda: come() or self._silent == len(self._readers), PATIENCE)
            assert done, "it hangs"
            assert come(), f"it ended: {''.join(self._complaints)}"

    def _read(self, pipe: IO[str], take: Callable[[str], None]) -> None:
        for line in pipe:
            with self._changed:
                take(line)
                self._changed.notify_all()
        with self._changed:
            self._silent += 1
            self._changed.notify_all()

    def _hear(self, line: str) -> None:
        if line.strip() == READY:
            self._ready = True
        elif line.endswith("\n"):
            error_id, at = line.split()
            self._answers.append(Answer(error_id, float(at)))
