"""hypercorn.toml and the command's options -> Hypercorn's configuration -> sockets that already listen."""

from __future__ import annotations

import errno
import socket
import stat
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from hypercorn.config import Config

from quartblog.errors.exceptions import SettingsError
from quartblog.paths import shipped
from quartblog.settings.sources import nearest

FILE = Path("hypercorn.toml")
PLAIN = ["http/1.1"]
"""What ALPN offers unless the operator asks for more."""
_OPENED = ("bind", "insecure_bind")
_READ_ONLY = {"log", "ssl_enabled"}
_LOGGING = "logging is set in config.toml, [logging]; this key would take the error records away from it"
_REFUSED = {
    "logconfig": _LOGGING,
    "logconfig_dict": _LOGGING,
    "root_path": "the blog is served at the root of a host name only",
    "use_reloader": "start the command again instead",
}
_HTTP_2 = (
    "hypercorn.toml offers HTTP/2: a client that breaks its protocol may hold a worker until the next restart;"
    " a proxy that speaks HTTP/2 before a blog that speaks HTTP/1.1 is safer"
)
_WHOLE = ("workers", "backlog", "keep_alive_max_requests", "h11_max_incomplete_size")


class Listening(NamedTuple):
    """A socket that takes connections, and the address to show."""

    bound: socket.socket
    address: str


def configuration(host: str | None, port: int | None, workers: int | None) -> Config:
    """Read hypercorn.toml from the working directory, else the shipped one, and put the options over it.

    Raise SettingsError where the file cannot be used.
    """
    path = FILE if FILE.exists() else shipped(str(FILE))
    values = _values(path)
    defaults = {
        "alpn_protocols": PLAIN,
        "ssl_handshake_timeout": values.get("keep_alive_timeout", Config.keep_alive_timeout),
        "worker_class": "asyncio" if find_spec("uvloop") is None else "uvloop",
    }
    config = Config.from_mapping(defaults | values)
    if workers is not None:
        config.workers = workers
    if host is not None or port is not None:
        first_host, first_port = _host_and_port(config.bind[0])
        config.bind = _join(host if host is not None else first_host, port if port is not None else first_port)
    return config


def listen(config: Config) -> list[Listening]:
    """Open every TCP address of the configuration, which then names the open sockets instead.

    Raise SettingsError for an address that cannot be had, or the path of a socket that is in use. Opened here, because
    Hypercorn shares an address it binds among several workers in a way that lets a second server take the same one
    without a word, and removes the path of a socket that is in use. Connections made from now on wait for the workers.
    """
    listening: list[Listening] = []
    try:
        for key in _OPENED:
            setattr(config, key, [_opened(bind, key, config, listening) for bind in getattr(config, key)])
    except BaseException:
        for bound, _ in listening:
            bound.close()
        raise
    return listening


def warnings(config: Config) -> list[str]:
    """What the operator has asked for, and should know of: a sentence each."""
    if config.ssl_enabled and "h2" in config.alpn_protocols:
        return [_HTTP_2]
    return []


def _opened(bind: str, key: str, config: Config, listening: list[Listening]) -> str:
    if bind.startswith("fd://"):
        return bind
    if bind.startswith("unix:"):
        _refuse_taken(bind.removeprefix("unix:"))
        return bind
    scheme = "https" if config.ssl_enabled and key == "bind" else "http"
    one = _listen(*_host_and_port(bind), scheme, config)
    listening.append(one)
    return f"fd://{one.bound.fileno()}"


def _refuse_taken(path: str) -> None:
    """Raise SettingsError where a program answers at the path, or something else than a socket is there."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            raise SettingsError(f"unix:{path}: something else than a socket is there: choose another path")
    except FileNotFoundError:
        if not Path(path).absolute().parent.is_dir():
            raise SettingsError(f"unix:{path}: there is no such folder") from None
        return
    except OSError as error:
        raise SettingsError(f"unix:{path}: {error.strerror}") from error
    with socket.socket(socket.AF_UNIX) as other:
        try:
            other.connect(path)
        except ConnectionRefusedError:
            return  # Left behind by a program that is gone.
        except OSError as error:
            raise SettingsError(f"unix:{path}: {error.strerror}") from error
    raise SettingsError(f"unix:{path} is taken by another program: stop it, or choose another path")


def _values(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    known = [
        name
        for name in dir(Config)
        if not name.startswith("_") and name not in _READ_ONLY and not callable(getattr(Config, name))
    ]
    for key, value in values.items():
        if key not in known:
            near = nearest(key, known)
            raise SettingsError(f"{path}: {key}: unknown key" + (f"; did you mean {near}?" if near else ""))
        if key in _REFUSED and value:
            raise SettingsError(f"{path}: {key}: {_REFUSED[key]}")
        if problem := _problem(key, value):
            raise SettingsError(f"{path}: {key} = {value!r}: {problem}")
    return values


def _problem(key: str, value: object) -> str | None:
    """Why the value cannot be used; it would fail in the middle of the start, or in each connection."""
    default = getattr(Config, key, None)
    if key in _WHOLE and not (type(value) is int and value >= 1):
        return "must be a whole number of at least 1"
    if key == "worker_class" and value not in {"asyncio", "uvloop"}:
        return "must be asyncio or uvloop"
    if key == "worker_class" and value == "uvloop" and find_spec("uvloop") is None:
        return "uvloop is not installed"
    if isinstance(default, bool) != isinstance(value, bool):
        return "must be true or false" if isinstance(default, bool) else "cannot be true or false"
    if isinstance(default, int | float) and not (isinstance(value, int | float) and value >= 0):
        return "must be a number, and not below 0"
    return None


def _listen(host: str, port: int, scheme: str, config: Config) -> Listening:
    if not host:
        # To the system that is every address, which nobody should open by leaving something out.
        raise SettingsError(f"no host to listen on before :{port}; 0.0.0.0 is every address of this machine")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind((host, port))
        bound.listen(config.backlog)
    except (OSError, OverflowError) as error:
        bound.close()
        raise SettingsError(_why_not(_join(host, port), error)) from error
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
        raise SettingsError(f"{bind!r} is no address: write HOST:PORT, and an IPv6 host in [brackets]")
    return host.strip("[]"), int(port)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
