"""A terminal, a pipe and an argument in any encoding: no command dies of a character."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from click.testing import CliRunner

from quartblog.cli import main
from tests.cli.test_main import every_command
from tests.support.processes import ROOT, Servers, environment
from tests.support.programs import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

ENVIRONMENTS = {
    "latin-1, strict": {"PYTHONIOENCODING": "latin-1:strict"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "locale C, not coerced": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
NAMES = "微博 é 😀 "
AS_ESCAPED = {"ascii": "\\u5fae\\u535a \\u00e9 \\ud83d\\ude00", "latin-1": "\\u5fae\\u535a é \\ud83d\\ude00"}
"""NAMES where they cannot be shown: escaped as in JSON."""


# Each command is a fork of one interpreter, because importing the program takes most of a command's time.
COMMANDS = """
import gc, json, os, sys
from pathlib import Path
import alembic.command, sqlalchemy.ext.asyncio, aiosqlite
import quartblog.app
from quartblog.cli import main
gc.freeze()  # else the end of each child looks through all that was imported
for number, arguments in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if not child:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{number}.{name}", os.O_WRONLY | os.O_CREAT), stream)
        main([os.fsdecode(bytes.fromhex(argument)) for argument in arguments])
    Path(f"{number}.code").write_text(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""


class Done(NamedTuple):
    """One command that has ended."""

    code: int
    stdout: bytes
    stderr: bytes


def run(environ: dict[str, str], folder: Path, *commands: Sequence[str | bytes]) -> list[Done]:
    """Run the commands with files in place of the terminal, and a password at their standard input."""
    arguments = [[os.fsencode(argument).hex() for argument in command] for command in commands]
    ran = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(arguments)],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)} | environ,
        input=b"a long password\n",
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [
        Done(
            int((folder / f"{number}.code").read_text()),
            (folder / f"{number}.out").read_bytes(),
            (folder / f"{number}.err").read_bytes(),
        )
        for number in range(len(commands))
    ]


@pytest.mark.parametrize("charset", ["latin-1", "ascii"])
@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_help_can_be_shown(path: tuple[str, ...], charset: str) -> None:
    result = CliRunner(charset=charset).invoke(main, [*path, "--help"])

    assert (result.exit_code, result.exception) == (0, None)


@pytest.mark.parametrize("environ", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_no_command_dies_of_what_its_output_cannot_hold_and_each_escapes_it(
    environ: dict[str, str], folder: Path
) -> None:
    (folder / "config.toml").write_text(f'[site]\nname = "{NAMES}"\n', "utf-8")
    name = b"caf\xe9.toml"
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text(f'[site]\nname = "{NAMES}"\n', "utf-8")

    checked, upgraded, created, refused, missing, there = run(
        environ,
        folder,
        ["config", "check"],
        ["db", "upgrade"],
        ["user", "create", "é", "--email", "a@example.org", "--password-stdin"],
        ["user", "admin", "微博"],
        ["--config", b"no-" + name, "config", "check"],
        ["--config", name, "config", "check", "--json"],
    )

    assert checked.code == upgraded.code == 0
    assert created.code == 0 or b"is not a valid name" in created.stderr, created.stderr
    assert refused.code == 1
    assert refused.stderr.startswith(b"Error: no account has the name ")
    assert missing.code == 1
    assert missing.stderr.startswith(b"Error: no-caf")
    assert missing.stderr.endswith(b".toml: no such file\n")
    assert there.code == 0, there.stderr
    encoding = environ.get("PYTHONIOENCODING", "ascii").partition(":")[0]
    assert json.loads(there.stdout.decode(encoding))["values"][0]["value"] == NAMES
    for done in (checked, created, refused, missing, there):
        assert b"Unicode" not in done.stdout + done.stderr
    assert AS_ESCAPED[encoding] in checked.stdout.decode(encoding)


@pytest.mark.server
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_the_site_starts_on_a_terminal_that_cannot_show_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    with Servers(tmp_path) as servers:
        server = servers.quartblog(servers.site())

        assert "\\u5fae\\u535a is at http" in server.stdout
        assert server.stop() == 0
        assert "微博已启动" in server.log
