"""hypercorn.toml, and the options of `quartblog run` over it."""

import socket
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from click.testing import Result

from quartblog.serving import configuration as serving
from tests.cli.standins import Workers

pytestmark = pytest.mark.usefixtures("workers")

Command = Callable[..., Result]
CERTIFICATE = Path(__file__).parents[1] / "delivery" / "certificates" / "server.pem"


def test_hypercorns_own_file_is_read_and_the_options_win(quartblog: Command, workers: Workers, folder: Path) -> None:
    (folder / "hypercorn.toml").write_text('bind = "[::1]:1"\nworkers = 3\nkeep_alive_timeout = 9\nbacklog = 7')

    quartblog("run", "--host", "127.0.0.1", "--port", "0", "--workers", "4")

    assert (workers.config.workers, workers.config.keep_alive_timeout) == (4, 9)
    assert workers.sockets[0].getsockname()[0] == "127.0.0.1"


def test_one_option_leaves_the_other_half_of_the_address_alone(
    quartblog: Command, workers: Workers, folder: Path
) -> None:
    (folder / "hypercorn.toml").write_text('bind = "127.0.0.2:1"')

    quartblog("run", "--port", "0")

    assert workers.sockets[0].getsockname()[0] == "127.0.0.2"


def test_a_unix_socket_is_left_to_hypercorn(quartblog: Command, workers: Workers, folder: Path) -> None:
    (folder / "hypercorn.toml").write_text('bind = ["127.0.0.1:0", "unix:blog.sock"]')

    result = quartblog("run")

    assert result.exit_code == 0
    assert [opened.family for opened in workers.sockets] == [socket.AF_INET, socket.AF_UNIX]


def test_config_check_refuses_the_server_file_as_well(quartblog: Command, folder: Path) -> None:
    (folder / "hypercorn.toml").write_text("root_path = '/blog'")

    result = quartblog("config", "check")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: hypercorn.toml: root_path: ")


def test_a_key_that_is_left_out_has_the_shipped_value(folder: Path) -> None:
    (folder / "hypercorn.toml").write_text("workers = 3")

    config = serving.configuration(None, None, None)

    assert (config.workers, config.bind, config.loglevel) == (3, ["127.0.0.1:5000"], "WARNING")


def test_a_unix_socket_that_is_in_use_is_refused_and_left_alone(
    quartblog: Command, workers: Workers, folder: Path
) -> None:
    (folder / "hypercorn.toml").write_text('bind = "unix:blog.sock"')
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("blog.sock")
        other.listen()

        result = quartblog("run")

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            "Error: unix:blog.sock: another program uses this socket: stop it, or choose another path\n"
        )
        assert not workers.called
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect("blog.sock")


def test_a_unix_socket_that_a_dead_program_left_is_taken_over(
    quartblog: Command, workers: Workers, folder: Path
) -> None:
    (folder / "hypercorn.toml").write_text('bind = "unix:blog.sock"')
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("blog.sock")

    assert quartblog("run").exit_code == 0
    assert workers.sockets[0].getsockname() == "blog.sock"


def test_http_2_is_not_offered_unless_it_is_asked_for(folder: Path) -> None:
    (folder / "hypercorn.toml").write_text("workers = 1")

    assert serving.configuration(None, None, None).alpn_protocols == ["http/1.1"]


def test_http_2_that_is_asked_for_is_warned_of(quartblog: Command, workers: Workers, folder: Path) -> None:
    (folder / "hypercorn.toml").write_text(
        f'alpn_protocols = ["h2", "http/1.1"]\ncertfile = "{CERTIFICATE}"\nkeyfile = "{CERTIFICATE}"'
    )

    result = quartblog("run", "--port", "0")

    assert workers.config.alpn_protocols == ["h2", "http/1.1"]
    assert result.stderr.startswith("Warning: hypercorn.toml enables HTTP/2")


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
        ("keep_alive_timeout = '5'", "hypercorn.toml: keep_alive_timeout = '5': must be a number, and not below 0"),
        ("shutdown_timeout = -1", "hypercorn.toml: shutdown_timeout = -1: must be a number, and not below 0"),
        ("include_server_header = 1", "hypercorn.toml: include_server_header = 1: must be true or false"),
        ("worker_class = 'trio'", "hypercorn.toml: worker_class = 'trio': must be asyncio, or uvloop"),
        ("root_path = '/blog'", "hypercorn.toml: root_path: quartblog serves the blog only at the root of a host name"),
        ("bind = 5", "hypercorn.toml: bind = 5: must name an address"),
        ("bind = []", "hypercorn.toml: bind = []: must name an address"),
        ("graceful_timeout = inf", "hypercorn.toml: graceful_timeout = inf: must be a number, and not below 0"),
        ("read_timeout = 'x'", "hypercorn.toml: read_timeout = 'x': must be a number, and not below 0"),
        ("keyfile_password = 4711", "hypercorn.toml: keyfile_password: must be a string"),
        ("alpn_protocols = 'h2'", "hypercorn.toml: alpn_protocols = 'h2': must be a list of strings"),
        ("errorlog = 'nowhere/at.all'", "hypercorn.toml: errorlog = 'nowhere/at.all': must be \"-\", or a file"),
        (
            "certfile = 'no.pem'\nkeyfile = 'no.pem'",
            "hypercorn.toml: certfile, keyfile, ca_certs: cannot be used",
        ),
        (
            "[logconfig_dict]\nversion = 1",
            "hypercorn.toml: logconfig_dict: configure logging in config.toml, [logging]",
        ),
        ("logconfig = 'logging.ini'", "hypercorn.toml: logconfig: configure logging in config.toml, [logging]"),
        ('bind = "unix:nowhere/blog.sock"', "unix:nowhere/blog.sock: the folder does not exist"),
        ('bind = "unix:hypercorn.toml"', "unix:hypercorn.toml: the path exists and is not a socket"),
        ('bind = "127.0.0.1:http"', "'127.0.0.1:http' is not an address: write HOST:PORT"),
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
