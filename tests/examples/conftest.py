"""A program with a copy of the folder beside it, as another project has it, and a mail server that listens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import quartblog.delivery
from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
FOLDER = Path(quartblog.delivery.__file__).parent
FOREIGN = ("quartblog", "microblog", "博客")
"""Names of the blog, which another project's operator must never meet."""


class Project:
    """Another project: a directory with a program and the folder `delivery`."""

    def __init__(self, place: Path, mail_server: MailServer) -> None:
        self.place = place
        self.mail_server = mail_server
        shutil.copytree(FOLDER, place / "delivery", ignore=shutil.ignore_patterns("__pycache__"))
        self._started: list[subprocess.Popen[str]] = []

    def add(self, name: str, source: str) -> None:
        """Write the program, with a mail server that listens to the test instead of one on port 25."""
        assert 'server="localhost"' in source
        address = f'server="127.0.0.1", port={self.mail_server.port}'
        (self.place / name).write_text(source.replace('server="localhost"', address), "utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python in the directory, in which every warning is an error."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *arguments],
            cwd=self.place,
            env=kept,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a Python there to its end; return what it printed. It must end with this code and complain of nothing."""
        process = self.start(*arguments)
        printed, complained = process.communicate(timeout=60)
        assert (process.returncode, complained) == (code, ""), printed
        return printed

    def log(self, name: str) -> str:
        """The log file so far."""
        path = self.place / "logs" / name
        return path.read_text("utf-8") if path.exists() else ""

    def assert_neutral(self, *texts: str) -> None:
        """Check that neither these texts, nor log, outbox and mails name the blog."""
        written = [path.read_bytes() for path in (self.place / "logs").iterdir()]
        mails = [f"{mail.message}\n{mail.subject}\n{mail.text}" for mail in self.mail_server.mails]
        everything = [*written, *(text.encode() for text in (*texts, *mails))]
        assert [name for name in FOREIGN for text in everything if name.encode() in text] == []

    def kill(self) -> None:
        """End what still runs."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with MailServer() as server:
        project = Project(tmp_path, server)
        yield project
        project.kill()
