"""`python -m delivery`, the command that comes with the folder, on the outbox that a program has left."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from .conftest import HERE

if TYPE_CHECKING:
    from .conftest import Project

PROGRAM = (HERE / "worker.py").read_text("utf-8")
COMMAND = "python -m delivery --outbox logs/outbox.sqlite3"


@pytest.fixture
def failed(project: Project) -> str:
    """A program with that command has failed twice: its log."""
    project.add("worker.py", PROGRAM.replace('site="Thumbnails"', f'site="Thumbnails", command="{COMMAND}"'))
    project.run("worker.py")
    return project.log("worker.log")


def run(project: Project, line: str, code: int = 0) -> str:
    """Run a command line as an operator types it, but with the Python of the tests."""
    python, *arguments = shlex.split(line)
    assert python == "python"
    return project.run(*arguments, code=code)


def test_the_commands_of_a_mail_work_as_they_stand(project: Project, failed: str) -> None:
    [mail] = project.mail_server.mails
    show, resolve = re.findall(rf"^{re.escape(COMMAND)} errors \w+ \d+$", mail.text, re.MULTILINE)

    shown, resolved = run(project, show), run(project, resolve)

    assert "FileNotFoundError: [Errno 2] No such file or directory: '[redacted]'" in shown
    assert "job shrink" in shown
    assert "Traceback (most recent call last):" in shown
    assert "INFO thumbnails: Shrinking [redacted]" in shown
    assert resolved == "1 is resolved: FileNotFoundError: [Errno 2] No such file or directory: '[redacted]'\n"
    assert run(project, f"{COMMAND} errors list") == "No group is open\n"
    assert "1: FileNotFoundError" in run(project, f"{COMMAND} errors list --all")
    project.assert_neutral(shown, resolved)


def test_an_error_id_finds_its_group_and_comes_first(project: Project, failed: str) -> None:
    first, second = re.findall(r"ERROR: The job failed .*\[id (\w{12})\]", failed)

    shown = [run(project, f"{COMMAND} errors show {error_id}") for error_id in (first, second)]

    assert shown[0].endswith(f"Samples: {first} {second}\n")
    assert shown[1].endswith(f"Samples: {second} {first}\n")


def test_a_reader_that_has_seen_enough_is_no_failure_to_report(project: Project, failed: str) -> None:
    with project.start("-m", "delivery", "--outbox", "logs/outbox.sqlite3", "errors", "show", "1") as process:
        assert process.stdout is not None
        assert process.stderr is not None

        process.stdout.close()

        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_mail_that_did_not_leave_is_listed_with_the_reason(project: Project) -> None:
    project.add("worker.py", PROGRAM)
    source = (project.place / "worker.py").read_text("utf-8")
    # Nobody listens on that port.
    (project.place / "worker.py").write_text(re.sub(r"port=\d+", "port=1", source), "utf-8")
    project.start("worker.py").communicate(timeout=60)

    listed = run(project, f"{COMMAND} outbox")

    assert re.match(r"1: waiting, digest, made \d+ s ago, 1 try: 127\.0\.0\.1:1 refused", listed)
