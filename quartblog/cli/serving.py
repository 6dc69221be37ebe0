"""hypercorn.toml and the command's options -> Hypercorn's configuration -> sockets that already listen."""

from __future__ import annotations

import errno
import multiprocessing
import signal
import socket
import time
import tomllib
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from hypercorn.config import Config

from quartblog.cli.worker import APPLICATION
from quartblog.paths import shipped
from quartblog.settings.sources import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = Path("hypercorn.toml")
_ELSEWHERE = ("unix:", "fd://")
_READ_ONLY = {"log", "ssl_enabled"}


class Listening(NamedTuple):
    """A socket that takes connections, and the address to show."""

    bound: socket.socket
    address: str


def configuration(host: str | None, port: int | None, workers: int | None) -> Config:
    """Read hypercorn.toml from the working directory, else the shipped one, and put the options over it.

    Raise ClickException where the file cannot be used.
    """
    path = FILE if FILE.exists() else shipped(str(FILE))
    values = _values(path)
    if "worker_class" not in values and find_spec("uvloop") is not None:
        values["worker_class"] = "uvloop"
    config = Config.from_mapping(values)
    config.application_path = APPLICATION
    if workers is not None:
        config.workers = workers
    if host is not None or port is not None:
        first_host, first_port = _host_and_port(config.bind[0])
        config.bind = _join(host if host is not None else first_host, port if port is not None else first_port)
    return config


def listen(config: Config) -> list[Listening]:
    """Open every TCP address of `config.bind`. Raise ClickException for one that cannot be had.

    Opened here and handed to Hypercorn, because it shares an address it binds among several workers in a way that
    lets a second server take the same one without a word. Connections made from now on wait for the workers.
    """
    listening: list[Listening] = []
    try:
        for bind in config.bind:
            if not bind.startswith(_ELSEWHERE):
                listening.append(_listen(*_host_and_port(bind), config))  # noqa: PERF401 - what is open is closed below
    except BaseException:
        for bound, _ in listening:
            bound.close()
        raise
    return listening


def hand_over(listening: list[Listening], config: Config) -> None:
    """Let Hypercorn own the sockets."""
    others = [bind for bind in config.bind if bind.startswith(_ELSEWHERE)]
    config.bind = [f"fd://{bound.detach()}" for bound, _ in listening] + others


def wait_for_workers(config: Config) -> None:
    """Let every worker finish its shutdown, at most as long as hypercorn.toml gives it; then end what hangs."""
    deadline = time.monotonic() + config.graceful_timeout + config.shutdown_timeout
    for worker in multiprocessing.active_children():
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()


@contextmanager
def noting_signals() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether SIGINT or SIGTERM has come since, whoever handles them.

    Hypercorn returns 0 when it was asked to end and also when a worker died: only the signal tells which.
    """
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.settimeout(0)
        writing.settimeout(0)
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield lambda: bool({signal.SIGINT, signal.SIGTERM}.intersection(_received(reading)))
        finally:
            signal.set_wakeup_fd(before)


def _received(reading: socket.socket) -> bytes:
    try:
        return reading.recv(4096, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def _values(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from error
    known = [
        name
        for name in dir(Config)
        if not name.startswith("_") and name not in _READ_ONLY and not callable(getattr(Config, name))
    ]
    for key in values:
        if key not in known:
            near = nearest(key, known)
            raise click.ClickException(f"{path}: {key}: unknown key" + (f"; did you mean {near}?" if near else ""))
    workers = values.get("workers", 1)
    if type(workers) is not int or workers < 1:
        raise click.ClickException(f"{path}: workers = {workers!r}: must be a whole number of at least 1")
    return values


def _listen(host: str, port: int, config: Config) -> Listening:
    if not host:
        # To the system that is every address, which nobody should open by leaving something out.
        raise click.ClickException(f"no host to listen on before :{port}; 0.0.0.0 is every address of this machine")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind((host, port))
        bound.listen(config.backlog)
    except (OSError, OverflowError) as error:
        bound.close()
        raise click.ClickException(_why_not(_join(host, port), error)) from error
    scheme = "https" if config.ssl_enabled else "http"
    return Listening(bound, f"{scheme}://{_join(host, bound.getsockname()[1])}")


def _why_not(address: str, error: Exception) -> str:
    match error:
        case OSError(errno=errno.EADDRINUSE):
            return f"{address} is taken by another program: stop it, or choose another port with --port"
        case OSError(errno=errno.EACCES):
            return f"{address} needs more rights: ports below 1024 belong to root, choose another with --port"
        case OSError():
            return f"cannot listen on {address}: {error.strerror}"
    return f"cannot listen on {address}: {error}"


def _host_and_port(bind: str) -> tuple[str, int]:
    host, separator, port = bind.rpartition(":")
    if bind.endswith("]") or not separator:
        host, port = bind, "5000"
    if not port.isdecimal():
        raise click.ClickException(f"{bind!r} is no address: write HOST:PORT, and an IPv6 host in [brackets]")
    return host.strip("[]"), int(port)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
