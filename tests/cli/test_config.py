"""`quartblog config check`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Command = Callable[..., Result]
Config = Callable[..., None]


def test_each_value_stands_beside_its_origin_in_columns(quartblog: Command, config: Config) -> None:
    config(mail={"server": "localhost", "admins": ["ops@example.org"]})

    result = quartblog("config", "check", QUARTBLOG_SITE__NAME="微博客")

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert result.stderr == ""
    # A Chinese character is two cells wide in a terminal, so this line has three characters less.
    assert lines[0].index("QUARTBLOG_SITE__NAME") == lines[1].index("default") - 3
    assert lines[0].startswith("*  [site] name ")
    assert lines[1].split() == ["[site]", "public_url", '"http://127.0.0.1:5000"', "default"]
    assert [line.split() for line in lines if "[mail] server" in line] == [
        ["*", "[mail]", "server", '"localhost"', "config.toml"]
    ]


def test_the_file_that_was_read_is_told(quartblog: Command, config: Config, folder: Path) -> None:
    without = quartblog("config", "check")
    config(site={"name": "blog"})
    with_one = quartblog("config", "check")

    assert without.stdout.endswith(f"\nSettings file: none; there is no config.toml in {folder}\n")
    assert with_one.stdout.endswith("\nSettings file: config.toml\n")
    assert json.loads(quartblog("config", "check", "--json").stdout)["file"] == "config.toml"


def test_no_secret_is_printed(quartblog: Command, config: Config) -> None:
    config(mail={"password": "canary"}, security={"secret_key": "canary" * 6})

    for arguments in ((), ("--json",)):
        result = quartblog("config", "check", *arguments)

        assert result.exit_code == 0
        assert "********" in result.stdout
        assert "canary" not in result.output


def test_what_is_probably_not_meant_is_a_warning(quartblog: Command) -> None:
    result = quartblog("config", "check")

    assert result.exit_code == 0
    assert result.stderr == "Warning: [mail] server: not set, so errors are logged but not mailed\n"


def test_json_holds_values_with_their_types_and_the_warnings(quartblog: Command) -> None:
    result = quartblog("config", "check", "--json", QUARTBLOG_MAIL__PORT="587")

    report = json.loads(result.stdout)
    origins = {(entry["section"], entry["key"]): entry for entry in report["values"]}
    port = {"section": "mail", "key": "port", "value": 587, "origin": "QUARTBLOG_MAIL__PORT", "changed": True}
    assert origins["mail", "port"] == port
    registration = {"section": "site", "key": "registration", "value": True, "origin": "default", "changed": False}
    assert origins["site", "registration"] == registration
    assert report["warnings"] == ["[mail] server: not set, so errors are logged but not mailed"]


def test_json_lists_the_problems_too(quartblog: Command) -> None:
    result = quartblog("config", "check", "--json", QUARTBLOG_MAIL__PORT="0", QUARTBLOG_MAIL__TLS="ssl")

    assert result.exit_code == 1
    assert [problem.partition(":")[0] for problem in json.loads(result.stdout)["problems"]] == [
        "QUARTBLOG_MAIL__PORT",
        "QUARTBLOG_MAIL__TLS",
    ]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ('[delivery]\nroutes = [{ to = ["a:b@example.org"] }]', "config.toml: [delivery] routes, number 1: to = "),
        (
            '[database]\nurl = "sqlite+aiosqlite:///x?timeout=never"',
            "config.toml: [database] url = ",
        ),
        ('[database]\nurl = "sqlite+aiosqlite:///config.toml/x"', "[database] url: config.toml is not a folder"),
        (
            '[mail]\nserver = "localhost:25"\nadmins = ["a@example.org"]',
            'config.toml: [mail] server = "localhost:25": must',
        ),
    ],
)
def test_what_would_stop_the_start_is_a_problem(quartblog: Command, folder: Path, config: str, problem: str) -> None:
    (folder / "config.toml").write_text(config)

    checked = quartblog("config", "check")
    as_json = quartblog("config", "check", "--json")

    assert (checked.exit_code, checked.stdout) == (1, "")
    assert checked.stderr.startswith(f"Error: {problem}")
    assert json.loads(as_json.stdout)["problems"][0].startswith(problem)


def test_a_secret_that_others_can_read_is_a_warning(quartblog: Command, config: Config, folder: Path) -> None:
    config(mail={"password": "canary"})
    (folder / "config.toml").chmod(0o644)

    result = quartblog("config", "check")

    assert result.exit_code == 0
    assert "Warning: config.toml: holds a secret, and other users of this machine can read it" in result.stderr
    assert "canary" not in result.output
