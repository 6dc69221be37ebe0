"""hypercorn.toml, and the options of `quartblog run` over it."""

import socket
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from click.testing import Result

from quartblog.cli import serving
from tests.cli.standins import Hypercorn

pytestmark = pytest.mark.usefixtures("hypercorn")

Command = Callable[..., Result]


def test_hypercorns_own_file_is_read_and_the_options_win(
    quartblog: Command, hypercorn: Hypercorn, folder: Path
) -> None:
    (folder / "hypercorn.toml").write_text('bind = "[::1]:1"\nworkers = 3\nkeep_alive_timeout = 9\nbacklog = 7')

    quartblog("run", "--host", "127.0.0.1", "--port", "0", "--workers", "4")

    assert (hypercorn.config.workers, hypercorn.config.keep_alive_timeout) == (4, 9)
    assert hypercorn.sockets[0].getsockname()[0] == "127.0.0.1"


def test_one_option_leaves_the_other_half_of_the_address_alone(
    quartblog: Command, hypercorn: Hypercorn, folder: Path
) -> None:
    (folder / "hypercorn.toml").write_text('bind = "127.0.0.2:1"')

    quartblog("run", "--port", "0")

    assert hypercorn.sockets[0].getsockname()[0] == "127.0.0.2"


def test_a_unix_socket_is_left_to_hypercorn(quartblog: Command, hypercorn: Hypercorn, folder: Path) -> None:
    (folder / "hypercorn.toml").write_text('bind = ["127.0.0.1:0", "unix:blog.sock"]')

    result = quartblog("run")

    assert result.exit_code == 0
    assert [opened.family for opened in hypercorn.sockets] == [socket.AF_INET, socket.AF_UNIX]


def test_the_file_of_the_program_is_used_where_the_folder_has_none(folder: Path) -> None:
    config = serving.configuration(None, None, None)

    assert (config.bind, config.workers) == (["127.0.0.1:5000"], 2)
    assert config.accesslog is None
    assert not config.include_server_header


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("workrs = 2", "hypercorn.toml: workrs: unknown key; did you mean workers?"),
        ("zzz = 2", "hypercorn.toml: zzz: unknown key"),
        ("workers = ", "hypercorn.toml: Invalid value (at"),
        ("workers = 0", "hypercorn.toml: workers = 0: must be a whole number of at least 1"),
        ('workers = "2"', "hypercorn.toml: workers = '2': must be a whole number of at least 1"),
        ('bind = "127.0.0.1:http"', "'127.0.0.1:http' is no address: write HOST:PORT"),
    ],
)
def test_a_server_file_that_cannot_be_used_is_one_clear_line(
    quartblog: Command, folder: Path, content: str, message: str
) -> None:
    (folder / "hypercorn.toml").write_text(content)

    result = quartblog("run")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_a_port_that_is_left_out_is_the_usual_one(folder: Path) -> None:
    (folder / "hypercorn.toml").write_text('bind = "[::1]"')

    assert serving.configuration("127.0.0.1", None, None).bind == ["127.0.0.1:5000"]
    assert serving.configuration(None, 80, None).bind == ["[::1]:80"]


@pytest.mark.parametrize(("installed", "worker_class"), [(True, "uvloop"), (False, "asyncio")])
def test_uvloop_is_used_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, installed: bool, worker_class: str
) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: ModuleSpec(name, None) if installed else None)

    assert serving.configuration(None, None, None).worker_class == worker_class


def test_the_operators_choice_of_a_loop_wins(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: ModuleSpec(name, None))
    (folder / "hypercorn.toml").write_text('worker_class = "asyncio"')

    assert serving.configuration(None, None, None).worker_class == "asyncio"
