"""Programs that fail on request and know quartblog.delivery alone, and the host they share.

Run as a program, this file reads orders from its standard input, one JSON object a line, and answers each
failure with its error id and the moment it was accepted; it ends when that input does.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from quartblog.delivery import (
    Delivery,
    FileOptions,
    MailingOptions,
    MailOptions,
    OutboxOptions,
    scope,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from tests.support.smtp import Mail

ROOT = Path(__file__).parents[2]
READY = "ready"

# Seconds a program may take for anything: a bound for one that hangs.
PATIENCE = 60.0

_RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} )", re.MULTILINE)
_ERROR_ID = re.compile(r" \[error (\w+)\]$", re.MULTILINE)
_TOLD = re.compile(r"^(\d+) new, (\d+) altogether", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """One failure that the delivery has accepted."""

    error_id: str
    at: float
    """Second of the clock that all processes of a machine share, `time.monotonic`."""


@dataclass(frozen=True)
class Counted:
    """One group as the outbox counts it."""

    title: str
    count: int
    reported: int


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
        """The failures it has told of so far."""
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
        """Wait until it has told of so many failures since its start; return all there are."""
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


class Host:
    """A folder with one log file and one outbox, and every program that uses them; on leaving, none is left."""

    def __init__(self, folder: Path, port: int, *, file: dict[str, int] | None = None, **mailing: float) -> None:
        """`port` is the mail server's; the rest are fields of FileOptions and MailingOptions."""
        self.folder = folder
        self._log = folder / "logs" / "site.log"
        self._outbox = folder / "outbox.sqlite3"
        self._order = json.dumps({
            "log": str(self._log),
            "outbox": str(self._outbox),
            "port": port,
            "file": file or {"backup_count": 1_000},
            "mailing": mailing,
        })  # fmt: skip
        self._programs: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self._programs:
            if program.process.poll() is None:
                program.kill()

    def start(self) -> Program:
        """Start one more process; what it would only warn of ends it."""
        process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, self._order],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._programs.append(Program(process))
        return self._programs[-1]

    @property
    def log_size(self) -> int:
        """Bytes of the log file that is written now."""
        return self._log.stat().st_size

    @property
    def log(self) -> str:
        """Every log file there is, whatever a rotation called it."""
        return "".join(path.read_text("utf-8") for path in self._log.parent.glob(f"{self._log.name}*"))

    @property
    def errors(self) -> list[str]:
        """The ERROR records of all log files, each with its traceback."""
        return [record for record in _RECORD.split(self.log) if " ERROR: " in record]

    @property
    def groups(self) -> list[Counted]:
        """What the outbox has counted; read past the product, which may not agree with its own mistakes."""
        return [Counted(*row) for row in self._query("SELECT title, count, reported FROM groups")]

    @property
    def waiting(self) -> list[str]:
        """The Message-IDs of mails that are to be sent."""
        return [row[0] for row in self._query("SELECT message_id FROM mails WHERE state = 'waiting'")]

    @property
    def counted(self) -> int:
        """All errors in the outbox."""
        return sum(group.count for group in self.groups)

    @property
    def all_told(self) -> bool:
        """Whether every error was mailed, as far as the outbox knows."""
        return all(group.reported == group.count for group in self.groups) and not self.waiting

    def _query(self, statement: str) -> list[tuple[Any, ...]]:
        if not self._outbox.exists():
            return []
        with closing(sqlite3.connect(self._outbox, timeout=PATIENCE)) as database:
            # A program that was killed early has not made the tables yet.
            [tables] = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return database.execute(statement).fetchall() if tables else []


def error_ids(records: Iterable[str]) -> list[str]:
    """The error id of each record of a log file."""
    return [found for record in records for found in _ERROR_ID.findall(record)]


def by_message_id(mails: Iterable[Mail]) -> dict[str, Mail]:
    """Each mail once, however often it was delivered."""
    return {str(mail.message["Message-ID"]): mail for mail in mails}


def told(mail: Mail) -> int:
    """How many errors a digest tells of that no mail has told of before."""
    return sum(int(new) for new, _ in _TOLD.findall(mail.text))


def serve(order: dict[str, Any]) -> None:
    """Fail as the standard input orders, until it ends."""
    delivery = Delivery(
        file=FileOptions(path=Path(order["log"]), **order["file"]),
        mail=MailOptions(
            server="127.0.0.1", port=order["port"], sender="site@example.org", admins=("ada@example.org",)
        ),
        outbox=OutboxOptions(path=Path(order["outbox"])),
        mailing=MailingOptions(**order["mailing"]),
    )
    numbers = itertools.count(1)
    with delivery:
        print(READY, flush=True)
        for line in sys.stdin:
            wanted = json.loads(line)
            kind = type(wanted["kind"], (RuntimeError,), {})
            for _ in range(wanted["times"]):
                answer = fail(kind, next(numbers))
                print(answer.error_id, answer.at, flush=True)
                if wanted["pause"]:
                    time.sleep(wanted["pause"])


def fail(kind: type[Exception], number: int) -> Answer:
    """One request that fails, and is answered."""
    with scope() as request:
        try:
            view(kind, number)
        except kind:
            logging.getLogger("site").exception("request %d failed", number)
        return Answer(request.error_id, time.monotonic())


def view(kind: type[Exception], number: int) -> None:
    """What a site would do for the request."""
    raise kind(f"request {number}")


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
