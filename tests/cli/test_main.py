"""What all commands have in common."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import Result

from quartblog import __version__
from quartblog.cli import main

Command = Callable[..., Result]


def every_command(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from every_command(below, (*path, name))


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_command_explains_itself_with_an_example(quartblog: Command, path: tuple[str, ...]) -> None:
    result = quartblog(*path, "--help")

    assert result.exit_code == 0
    assert "Example:\n" in result.stdout
    assert " ".join(("quartblog", *path)) in result.stdout.partition("Example:")[2]


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_command_says_what_its_arguments_are(path: tuple[str, ...]) -> None:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]

    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            name = parameter.make_metavar(click.Context(command)).strip("[].")
            assert re.search(rf"\b{name} is ", command.help or ""), f"{name} is not explained"


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_no_command_is_introduced_by_half_a_sentence(quartblog: Command, path: tuple[str, ...]) -> None:
    assert "..." not in quartblog(*path, "--help").stdout.partition("Commands:\n")[2]


def test_the_commands_of_the_contract_are_there() -> None:
    assert set(map(" ".join, every_command())) >= {
        "run",
        "config check",
        "db upgrade",
        "db copy",
        "user create",
        "user admin",
        "user password",
        "mail test",
        "delivery status",
        "delivery outbox",
        "delivery retry",
        "delivery purge",
        "delivery rehearse",
        "errors list",
        "errors show",
        "errors resolve",
    }


def test_the_version_is_told(quartblog: Command) -> None:
    assert quartblog("--version").stdout == f"quartblog, version {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        ("config", "check"),
        ("db", "upgrade"),
        ("user", "admin", "ada"),
        ("mail", "test"),
        ("delivery", "status"),
        ("delivery", "rehearse"),
        ("errors", "list"),
        ("run",),
    ],
    ids=" ".join,
)
def test_settings_that_cannot_be_used_stop_every_command(quartblog: Command, command: tuple[str, ...]) -> None:
    result = quartblog(*command, QUARTBLOG_MAIL__PORT="0")

    assert result.exit_code == 1
    assert result.stderr == ('Error: QUARTBLOG_MAIL__PORT: [mail] port = "0": must be a whole number from 1 to 65535\n')


def test_several_problems_are_listed_one_below_the_other(quartblog: Command) -> None:
    result = quartblog("config", "check", QUARTBLOG_MAIL__PORT="0", QUARTBLOG_MAIL__TLS="ssl")

    assert result.stderr.splitlines() == [
        "Error: several problems:",
        '  QUARTBLOG_MAIL__PORT: [mail] port = "0": must be a whole number from 1 to 65535',
        '  QUARTBLOG_MAIL__TLS: [mail] tls = "ssl": must be "none", "starttls" or "implicit"',
    ]


def test_what_is_wrong_with_a_settings_file_is_told_once(quartblog: Command, folder: Path) -> None:
    (folder / "config.toml").write_text("[site]\nname = nothing")

    result = quartblog("config", "check")

    assert result.stderr == "Error: config.toml: is not TOML: Invalid value (at line 2, column 8)\n"


def test_another_settings_file_is_read_where_one_is_named(quartblog: Command, folder: Path) -> None:
    (folder / "other.toml").write_text('[site]\nname = "elsewhere"')

    assert '"elsewhere"' in quartblog("--config", "other.toml", "config", "check").stdout
    assert '"elsewhere"' in quartblog("config", "check", QUARTBLOG_CONFIG="other.toml").stdout


def test_a_named_file_that_is_missing_is_one_clear_line(quartblog: Command) -> None:
    result = quartblog("--config", "missing.toml", "config", "check")

    assert (result.exit_code, result.stderr) == (1, "Error: missing.toml: no such file\n")
