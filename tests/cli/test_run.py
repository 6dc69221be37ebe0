"""What `quartblog run` prepares before it serves, and how it ends."""

import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from quartblog import migrations
from tests.cli.standins import Workers

pytestmark = pytest.mark.usefixtures("workers")

Command = Callable[..., Result]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_everything_is_ready_before_the_first_worker_starts(quartblog: Command, workers: Workers, folder: Path) -> None:
    result = quartblog("run", "--port", "0")

    assert (result.exit_code, result.stderr) == (0, "")
    assert migrations.current("sqlite+aiosqlite:///instance/quartblog.sqlite3") == migrations.head()
    assert stat.S_IMODE((folder / "instance" / "secret_key").stat().st_mode) == 0o600
    assert workers.config.workers == 2
    assert not workers.debug


def test_the_address_is_printed_and_already_takes_connections(quartblog: Command, workers: Workers) -> None:
    result = quartblog("run", "--port", "0", QUARTBLOG_SITE__NAME="我的微博")

    assert result.stdout == f"我的微博 is at http://127.0.0.1:{workers.port} (Ctrl-C ends it)\n"
    socket.create_connection(("127.0.0.1", workers.port), timeout=10).close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_an_ipv6_address_is_written_in_brackets(quartblog: Command, workers: Workers) -> None:
    result = quartblog("run", "--host", "::1", "--port", "0")

    assert f"http://[::1]:{workers.port} " in result.stdout


def test_no_host_at_all_is_refused_and_not_every_address(quartblog: Command, workers: Workers) -> None:
    result = quartblog("run", "--host", "", "--port", "0")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: the host before :0 is missing; 0.0.0.0 listens on every address of this machine\n"
    assert not workers.called


def test_a_taken_port_is_one_clear_line_and_changes_nothing(
    quartblog: Command, workers: Workers, taken: int, folder: Path
) -> None:
    result = quartblog("run", "--port", str(taken))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: another program listens on 127.0.0.1:{taken}: stop it, or choose another port with --port\n"
    )
    assert not workers.called
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "no permission to listen on 127.0.0.1:0"),
        (OSError(99, "Cannot assign requested address"), "cannot listen on 127.0.0.1:0: Cannot assign requested"),
        (OverflowError("port must be 0-65535."), "cannot listen on 127.0.0.1:0: port must be 0-65535."),
    ],
)
def test_an_address_that_cannot_be_had_is_one_clear_line(
    quartblog: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    class Refused(socket.socket):
        def bind(self, _address: object) -> None:
            raise error

    monkeypatch.setattr("socket.socket", Refused)

    result = quartblog("run", "--port", "0")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_the_second_address_being_taken_gives_the_first_one_back(quartblog: Command, folder: Path, taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    (folder / "hypercorn.toml").write_text(f'bind = ["127.0.0.1:{free}", "127.0.0.1:{taken}"]')

    assert quartblog("run").exit_code == 1

    socket.create_server(("127.0.0.1", free)).close()


def test_the_port_is_given_back_when_the_tables_cannot_be_upgraded(
    quartblog: Command, workers: Workers, folder: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    (folder / "instance").write_text("a file is in the way")

    result = quartblog("run", "--port", str(free))

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert not workers.called
    socket.create_server(("127.0.0.1", free)).close()


def test_a_database_in_memory_is_refused(quartblog: Command, workers: Workers) -> None:
    result = quartblog("run", "--port", "0", QUARTBLOG_DATABASE__URL="sqlite+aiosqlite://")

    assert result.exit_code == 1
    assert "processes cannot share a database in memory" in result.stderr
    assert not workers.called


def test_the_workers_read_the_same_settings_file_from_wherever_they_are(
    quartblog: Command, workers: Workers, folder: Path
) -> None:
    (folder / "other.toml").touch()

    quartblog("--config", "other.toml", "run", "--port", "0")

    assert workers.environ["QUARTBLOG_CONFIG"] == str(folder / "other.toml")


def test_debug_is_one_worker_that_knows(quartblog: Command, workers: Workers) -> None:
    quartblog("run", "--port", "0", "--debug")

    assert workers.config.workers == 1
    assert workers.debug


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_debug_that_others_can_reach_is_warned_about(quartblog: Command, host: str, *, warned: bool) -> None:
    result = quartblog("run", "--host", host, "--port", "0", "--debug")

    assert ("shows the code to everybody" in result.stderr) is warned


def test_debug_with_several_workers_is_refused(quartblog: Command, workers: Workers) -> None:
    result = quartblog("run", "--port", "0", "--debug", "--workers", "2")

    assert result.exit_code == 2
    assert "--debug runs one worker" in result.stderr
    assert not workers.called


def test_workers_that_fail_are_reported_on_the_terminal_and_in_the_log(
    quartblog: Command, workers: Workers, folder: Path
) -> None:
    workers.fails_with = "a worker ended by itself"

    result = quartblog("run", "--port", "0")

    assert (result.exit_code, result.stderr) == (1, "Error: a worker ended by itself\n")
    assert " ERROR: a worker ended by itself [in " in (folder / "logs" / "microblog.log").read_text("utf-8")


def test_workers_that_fail_are_reported_on_the_terminal_where_nothing_can_be_logged(
    quartblog: Command, workers: Workers, folder: Path
) -> None:
    (folder / "logs").write_text("a file is in the way")
    workers.fails_with = "a worker ended by itself"

    result = quartblog("run", "--port", "0")

    assert result.exit_code == 1
    assert "Error: a worker ended by itself\n" in result.stderr


def test_being_asked_to_stop_is_a_clean_end(quartblog: Command, workers: Workers, folder: Path) -> None:
    result = quartblog("run", "--port", "0")

    assert (result.exit_code, result.stderr) == (0, "")
    assert not (folder / "logs").exists()


def test_ctrl_c_before_the_workers_start_is_a_clean_end(quartblog: Command, workers: Workers) -> None:
    workers.fails_with = KeyboardInterrupt

    result = quartblog("run", "--port", "0")

    assert (result.exit_code, result.stderr) == (0, "")


def test_sigterm_stops_the_preparation_as_ctrl_c_does(
    quartblog: Command, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    monkeypatch.setattr("quartblog.cli.run.bring_up_to_date", lambda _settings: signal.raise_signal(signal.SIGTERM))

    result = quartblog("run", "--port", "0")

    assert (result.exit_code, result.output) == (0, "")
    assert not workers.called
