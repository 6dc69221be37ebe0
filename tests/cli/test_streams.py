"""A terminal, a pipe and an argument in any encoding: no command dies of a character."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from quartblog.cli import main
from tests.cli.test_main import every_command
from tests.support.processes import ROOT, Servers, environment
from tests.support.programs import PATIENCE

ENVIRONMENTS = {
    "latin-1, strict": {"PYTHONIOENCODING": "latin-1:strict"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "locale C, not coerced": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
NAMES = "微博 é 😀 "
AS_ESCAPED = {"ascii": "\\u5fae\\u535a \\u00e9 \\ud83d\\ude00", "latin-1": "\\u5fae\\u535a é \\ud83d\\ude00"}


def run(environ: dict[str, str], folder: Path, *arguments: str | bytes, typed: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run the command in a process of its own, with pipes in place of the terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "quartblog.cli", *arguments],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)} | environ,
        input=typed,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("charset", ["latin-1", "ascii"])
@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_help_can_be_shown(path: tuple[str, ...], charset: str) -> None:
    result = CliRunner(charset=charset).invoke(main, [*path, "--help"])

    assert (result.exit_code, result.exception) == (0, None)


@pytest.mark.parametrize("environ", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_no_command_dies_of_what_its_output_cannot_hold(environ: dict[str, str], folder: Path) -> None:
    (folder / "config.toml").write_text(f'[site]\nname = "{NAMES}"\n', "utf-8")

    checked = run(environ, folder, "config", "check")
    run(environ, folder, "db", "upgrade")
    created = run(environ, folder, "user", "create", "é", "--email", "a@example.org", "--password-stdin", typed=b"pw\n")
    listed = run(environ, folder, "errors", "list")
    refused = run(environ, folder, "user", "admin", "微博")

    assert checked[0] == 0
    assert created[0] == 0 or b"is not a valid name" in created[2], created[2]
    assert (listed[0], refused[0]) == (1, 1)
    assert refused[2].startswith(b"Error: no account has the name ")
    for _, stdout, stderr in (checked, created, listed, refused):
        assert b"Unicode" not in stdout + stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_cannot_be_shown_is_escaped_as_in_json(folder: Path, encoding: str) -> None:
    (folder / "config.toml").write_text(f'[site]\nname = "{NAMES}"\n', "utf-8")
    environ = {"PYTHONIOENCODING": encoding}

    _, table, _ = run(environ, folder, "config", "check")
    _, text, _ = run(environ, folder, "config", "check", "--json")

    assert AS_ESCAPED[encoding] in table.decode(encoding)
    assert json.loads(text.decode(encoding))["values"][0]["value"] == NAMES


@pytest.mark.parametrize("environ", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_a_path_of_raw_bytes_is_read_and_named(environ: dict[str, str], folder: Path) -> None:
    name = b"caf\xe9.toml"
    missing = run(environ, folder, "--config", name, "config", "check")
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("[site]\nname = 'here'\n")

    there = run(environ, folder, "--config", name, "config", "check")

    assert missing[0] == 1
    assert missing[2].startswith(b"Error: caf")
    assert missing[2].endswith(b".toml: no such file\n")
    assert there[0] == 0, there[2]
    assert b'"here"' in there[1]


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
