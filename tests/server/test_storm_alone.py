"""The folder of the delivery, taken as it is into another project: an asyncio program of a few lines, and no Quart."""

import shutil
import textwrap
from pathlib import Path

import pytest

import quartblog.delivery
from tests.support import programs
from tests.support.processes import ROOT
from tests.support.smtp import MailServer

pytestmark = pytest.mark.server

MODULES = """
import sys
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def example(port: int) -> str:
    """The program of the package's docstring, with a mail server that listens to the test."""
    text = quartblog.delivery.__doc__ or ""
    code = textwrap.dedent(text[text.index("    import asyncio") :])
    assert 'server="localhost"' in code
    return code.replace('server="localhost"', f'server="127.0.0.1", port={port}')


def run(code: str, folder: Path, path: Path) -> set[str]:
    """Run the program in an empty folder, and return the names of all packages it has imported."""
    folder.mkdir()
    return set(programs.output(programs.start(code + MODULES, folder=folder, path=path)).split())


def test_the_docstrings_program_logs_and_mails_without_quart(tmp_path: Path, mail_server: MailServer) -> None:
    imported = run(example(mail_server.port), tmp_path / "empty", ROOT)

    assert_told(tmp_path / "empty", mail_server)
    assert "quartblog" in imported
    assert not imported & {"quart", "werkzeug", "hypercorn", "sqlalchemy", "pydantic", "jinja2", "click"}


def test_a_copy_of_the_folder_does_the_same_under_another_name(tmp_path: Path, mail_server: MailServer) -> None:
    shutil.copytree(
        ROOT / "quartblog" / "delivery", tmp_path / "mine" / "errands", ignore=shutil.ignore_patterns("__pycache__")
    )
    code = example(mail_server.port).replace("quartblog.delivery", "errands")

    imported = run(code, tmp_path / "empty", tmp_path / "mine")

    assert_told(tmp_path / "empty", mail_server)
    assert "errands" in imported
    assert not imported & {"quart", "quartblog"}


def assert_told(folder: Path, mail_server: MailServer) -> None:
    """The failure is in the file and in one mail."""
    log = (folder / "logs" / "site.log").read_text("utf-8")
    assert "ERROR: the division failed" in log
    assert log.endswith("ZeroDivisionError: division by zero\n")
    [mail] = mail_server.mails
    assert "ZeroDivisionError: division by zero" in mail.subject
