"""A folder with one log file and one outbox, the failing programs that share it, and the content of both files."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.server import failing
from tests.server.program import PATIENCE, Program
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from tests.support.smtp import Mail

_RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} )", re.MULTILINE)
_ERROR_ID = re.compile(r" \[id (\w+)\]$", re.MULTILINE)
_TOLD = re.compile(r"^(\d+) new, (\d+) altogether", re.MULTILINE)


@dataclass(frozen=True)
class Counted:
    """One group as the outbox counts it."""

    title: str
    count: int
    reported: int


class Host:
    """A folder with one log file and one outbox, and every program that uses them; on leaving, none is left."""

    def __init__(self, folder: Path, port: int, *, file: dict[str, int] | None = None, **mailing: float) -> None:
        """`port` is the mail server's; the rest are fields of FileOptions and MailingOptions."""
        self.folder = folder
        self._log = folder / "logs" / "site.log"
        self._outbox = folder / "outbox.sqlite3"
        self._order: dict[str, Any] = {
            "log": str(self._log),
            "outbox": str(self._outbox),
            "port": port,
            "file": file or {"backup_count": 1_000},
            "mailing": mailing,
        }
        self._programs: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self._programs:
            if program.process.poll() is None:
                program.kill()

    def start(self, **mailing: float) -> Program:
        """Start one more process, with these fields of MailingOptions changed; what it would only warn of ends it."""
        order = self._order | {"mailing": self._order["mailing"] | mailing}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", failing.__file__, json.dumps(order)],
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
        """The Message-IDs of mails that are to be sent; a digest that has just begun has none yet."""
        return [row[0] for row in self._query("SELECT message_id FROM mails WHERE state = 'waiting' AND data != x''")]

    def count(self, kind: str) -> int:
        """The errors of one kind in the outbox."""
        return sum(group.count for group in self.groups if group.title == f"__main__.{kind}")

    def newest(self, kind: str) -> list[str]:
        """The error ids of the last errors of one kind, which the outbox keeps whole; the oldest first."""
        samples = "samples JOIN groups ON groups.id = group_id"
        statement = f"SELECT error_id FROM {samples} WHERE title = ? ORDER BY created, samples.id"
        return [row[0] for row in self._query(statement, f"__main__.{kind}")]

    @property
    def counted(self) -> int:
        """All errors in the outbox."""
        return sum(group.count for group in self.groups)

    @property
    def all_told(self) -> bool:
        """Whether every error was mailed, as far as the outbox knows."""
        return all(group.reported == group.count for group in self.groups) and not self.waiting

    def _query(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        if not self._outbox.exists():
            return []
        with closing(sqlite3.connect(self._outbox, timeout=PATIENCE)) as database:
            # A program that was killed early has not made the tables yet.
            [tables] = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return database.execute(statement, values).fetchall() if tables else []


def error_ids(records: Iterable[str]) -> list[str]:
    """The error id of each record of a log file."""
    return [found for record in records for found in _ERROR_ID.findall(record)]


def by_message_id(mails: Iterable[Mail]) -> dict[str, Mail]:
    """Each mail once, however often it was delivered."""
    return {str(mail.message["Message-ID"]): mail for mail in mails}


def new_errors(mail: Mail) -> int:
    """How many errors a digest reports that no mail has reported before."""
    return sum(int(new) for new, _ in _TOLD.findall(mail.text))
