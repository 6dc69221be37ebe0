"""The example of the package's docstring is a program that works."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import quartblog.delivery
from tests.support import programs

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Peer


def example() -> str:
    """The indented block of the docstring."""
    lines = (quartblog.delivery.__doc__ or "").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("    import"))
    return textwrap.dedent("\n".join(lines[first:])).rstrip() + "\n"


def test_the_example_logs_and_mails_a_failure(tmp_path: Path, accepting_server: Peer) -> None:
    code = example().replace('server="localhost"', f'server="127.0.0.1", port={accepting_server.port}')
    programs.output(programs.start(code, folder=tmp_path))

    log = (tmp_path / "logs" / "site.log").read_text()
    assert "ERROR: the division failed" in log
    assert log.endswith("ZeroDivisionError: division by zero\n")
    [mail] = accepting_server.mails
    assert "博客异常" in mail["Subject"]


def test_the_package_needs_nothing_of_the_web_application(tmp_path: Path) -> None:
    code = (
        "import sys, quartblog.delivery\n"
        "found = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not found & {'quart', 'sqlalchemy', 'pydantic', 'click'}, found\n"
        "ours = {name for name in sys.modules if name.startswith('quartblog.')}\n"
        "assert all(name.startswith('quartblog.delivery') for name in ours), ours\n"
    )
    programs.output(programs.start(code, folder=tmp_path))
