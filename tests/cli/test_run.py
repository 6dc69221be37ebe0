"""What `quartblog run` prepares and hands to Hypercorn, without serving."""

import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from click.testing import Result
from hypercorn.config import Config

from quartblog import migrations
from quartblog.cli import serving, worker

Command = Callable[..., Result]


class Hypercorn:
    """Stands where Hypercorn's run() is: keeps what it was given and ends as it was told to.

    It takes the signals over and returns 0 as the real one does, whether it was asked to end or lost a worker.
    """

    def __init__(self) -> None:
        self.config = Config()
        self.sockets: list[socket.socket] = []
        self.environ: dict[str, str] = {}
        self.ends_with: signal.Signals | type[BaseException] | None = signal.SIGINT
        self.called = False

    def __call__(self, config: Config) -> int:
        self.called = True
        self.config, self.environ = config, dict(os.environ)
        self.sockets = config.create_sockets().insecure_sockets
        if isinstance(self.ends_with, signal.Signals):
            before = signal.signal(self.ends_with, lambda *_: None)
            signal.raise_signal(self.ends_with)
            signal.signal(self.ends_with, before)
        elif self.ends_with is not None:
            raise self.ends_with
        return 0

    @property
    def port(self) -> int:
        port: int = self.sockets[0].getsockname()[1]
        return port


@pytest.fixture(autouse=True)
def hypercorn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hypercorn]:
    """In place of the server."""
    hypercorn = Hypercorn()
    monkeypatch.setattr("quartblog.cli.run.hypercorn", hypercorn)
    yield hypercorn
    for opened in hypercorn.sockets:
        opened.close()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_everything_is_ready_before_the_first_worker_starts(
    quartblog: Command, hypercorn: Hypercorn, folder: Path
) -> None:
    result = quartblog("run", "--port", "0")

    assert (result.exit_code, result.stderr) == (0, "")
    assert migrations.current("sqlite+aiosqlite:///instance/quartblog.sqlite3") == migrations.head()
    assert stat.S_IMODE((folder / "instance" / "secret_key").stat().st_mode) == 0o600
    assert hypercorn.config.application_path == "quartblog.cli.worker:serve()"
    assert hypercorn.config.workers == 2
    assert "QUART_DEBUG" not in hypercorn.environ


def test_the_address_is_printed_and_already_takes_connections(quartblog: Command, hypercorn: Hypercorn) -> None:
    result = quartblog("run", "--port", "0", QUARTBLOG_SITE__NAME="我的微博")

    assert result.stdout == f"我的微博 is at http://127.0.0.1:{hypercorn.port} (Ctrl-C ends it)\n"
    socket.create_connection(("127.0.0.1", hypercorn.port), timeout=10).close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_an_ipv6_address_is_written_in_brackets(quartblog: Command, hypercorn: Hypercorn) -> None:
    result = quartblog("run", "--host", "::1", "--port", "0")

    assert f"http://[::1]:{hypercorn.port} " in result.stdout


def test_a_taken_port_is_one_clear_line_and_changes_nothing(
    quartblog: Command, hypercorn: Hypercorn, taken: int, folder: Path
) -> None:
    result = quartblog("run", "--port", str(taken))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: 127.0.0.1:{taken} is taken by another program: stop it, or choose another port with --port\n"
    )
    assert not hypercorn.called
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "127.0.0.1:0 needs more rights"),
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
    quartblog: Command, hypercorn: Hypercorn, folder: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    (folder / "instance").write_text("a file is in the way")

    result = quartblog("run", "--port", str(free))

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert not hypercorn.called
    socket.create_server(("127.0.0.1", free)).close()


def test_a_database_in_memory_is_refused(quartblog: Command, hypercorn: Hypercorn) -> None:
    result = quartblog("run", "--port", "0", QUARTBLOG_DATABASE__URL="sqlite+aiosqlite://")

    assert result.exit_code == 1
    assert "cannot be shared by processes" in result.stderr
    assert not hypercorn.called


def test_the_workers_read_the_same_settings_file_from_wherever_they_are(
    quartblog: Command, hypercorn: Hypercorn, folder: Path
) -> None:
    (folder / "other.toml").touch()

    quartblog("--config", "other.toml", "run", "--port", "0")

    assert hypercorn.environ["QUARTBLOG_CONFIG"] == str(folder / "other.toml")


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


def test_debug_is_one_worker_that_knows(quartblog: Command, hypercorn: Hypercorn) -> None:
    quartblog("run", "--port", "0", "--debug")

    assert hypercorn.config.workers == 1
    assert hypercorn.environ["QUART_DEBUG"] == "1"


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_debug_that_others_can_reach_is_warned_about(quartblog: Command, host: str, *, warned: bool) -> None:
    result = quartblog("run", "--host", host, "--port", "0", "--debug")

    assert ("shows the code to everybody" in result.stderr) is warned


def test_debug_with_several_workers_is_refused(quartblog: Command, hypercorn: Hypercorn) -> None:
    result = quartblog("run", "--port", "0", "--debug", "--workers", "2")

    assert result.exit_code == 2
    assert "--debug runs one worker" in result.stderr
    assert not hypercorn.called


def test_a_worker_that_ends_by_itself_is_a_failure(quartblog: Command, hypercorn: Hypercorn) -> None:
    hypercorn.ends_with = None

    result = quartblog("run", "--port", "0")

    assert result.exit_code == 1
    assert result.stderr == "Error: a worker ended by itself, and the others with it; the log file says more\n"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, KeyboardInterrupt])
def test_being_asked_to_stop_is_a_clean_end(
    quartblog: Command, hypercorn: Hypercorn, end: signal.Signals | type[BaseException]
) -> None:
    hypercorn.ends_with = end

    result = quartblog("run", "--port", "0")

    assert (result.exit_code, result.stderr) == (0, "")


def test_sigterm_stops_the_preparation_as_ctrl_c_does(
    quartblog: Command, hypercorn: Hypercorn, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    monkeypatch.setattr("quartblog.cli.run.bring_up_to_date", lambda _settings: signal.raise_signal(signal.SIGTERM))

    result = quartblog("run", "--port", "0")

    assert (result.exit_code, result.output) == (0, "")
    assert not hypercorn.called


def test_a_worker_makes_the_app_of_the_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config.toml").write_text('[site]\nname = "我的微博"')

    app = worker.serve()

    assert app.jinja_env.globals["site_name"] == "我的微博"
    assert signal.getsignal(signal.SIGTERM) is worker.leave_it_to_the_parent


class Parent:
    """The process that started a worker."""

    def __init__(self, *, alive: bool) -> None:
        self.alive = alive

    def is_alive(self) -> bool:
        return self.alive


@pytest.mark.parametrize(("parent", "ends"), [(Parent(alive=True), False), (Parent(alive=False), True), (None, True)])
def test_a_worker_ends_on_sigterm_only_where_no_parent_leads_the_shutdown(
    monkeypatch: pytest.MonkeyPatch, parent: Parent | None, *, ends: bool
) -> None:
    raised: list[int] = []
    monkeypatch.setattr("multiprocessing.parent_process", lambda: parent)
    monkeypatch.setattr("signal.raise_signal", raised.append)

    worker.leave_it_to_the_parent(signal.SIGTERM, None)

    assert raised == ([signal.SIGTERM] if ends else [])


class Worker:
    """A worker process at the end."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.killed = False

    def join(self, timeout: float) -> None:
        self.waited.append(timeout)

    def kill(self) -> None:
        self.killed = True


def test_every_worker_gets_its_time_before_it_is_ended(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    workers = [Worker(), Worker()]
    monkeypatch.setattr("multiprocessing.active_children", lambda: workers)

    serving.wait_for_workers(serving.configuration(None, None, None))

    assert [19 < each.waited[0] <= 20 for each in workers] == [True, True]
    assert all(each.killed for each in workers)
