"""The command, run in a folder of its own, without the variables of whoever runs the tests."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quartblog.cli import main
from tests.cli.standins import Workers

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    for name in (*os.environ, "QUARTBLOG_CONFIG", "QUART_DEBUG", "FLASK_DEBUG"):
        if name.startswith(("QUARTBLOG_", "MAIL_", "QUART_", "FLASK_")):
            # Set first: only then is a variable that the command sets taken away again afterwards.
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(autouse=True)
def signals_as_found() -> Iterator[None]:
    """`quartblog run` answers SIGTERM itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def quartblog(folder: Path) -> Command:
    """Run the command with these arguments; `typed` is standard input, other names are variables."""

    def quartblog(*arguments: str, typed: str | None = None, **environ: str) -> Result:
        result = CliRunner(env=environ).invoke(main, arguments, input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return quartblog


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command believe that a person looks at its output."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _stream: True)


@pytest.fixture
def config(folder: Path) -> Callable[..., None]:
    """Write config.toml from sections given by name."""

    def config(**sections: dict[str, object]) -> None:
        lines = []
        for name, keys in sections.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        (folder / "config.toml").write_text("\n".join(lines), "utf-8")

    return config


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """In place of the processes that serve."""
    workers = Workers()
    monkeypatch.setattr("quartblog.serving.parent.serve", workers)
    yield workers
    for opened in workers.sockets:
        opened.close()
