"""hypercorn.toml and the command's options -> Hypercorn's configuration -> listening sockets."""

from __future__ import annotations

import errno
import math
import socket
import stat
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from hypercorn.config import Config

from quartblog.errors.exceptions import SettingsError
from quartblog.paths import shipped
from quartblog.settings.sources import nearest

FILE = Path("hypercorn.toml")
_OPENED = ("bind", "insecure_bind")
_READ_ONLY = {"log", "ssl_enabled"}
_LOGGING = "configure logging in config.toml, [logging]; this key would send the error records elsewhere"
_REFUSED = {
    "logconfig": _LOGGING,
    "logconfig_dict": _LOGGING,
    "root_path": "quartblog serves the blog only at the root of a host name",
    "use_reloader": "start the command again instead",
}
_HTTP_2 = (
    "hypercorn.toml enables HTTP/2: a client that breaks the protocol may block a worker until the next restart;"
    " a proxy that speaks HTTP/2 in front of a blog that speaks HTTP/1.1 is safer"
)


class Listening(NamedTuple):
    """A listening socket, and its address for the operator."""

    bound: socket.socket
    address: str


def configuration(host: str | None, port: int | None, workers: int | None) -> Config:
    """Read the shipped hypercorn.toml, override it from the one in the working directory, then from the options.

    Raise SettingsError when a file cannot be read or holds a bad value.
    """
    ours = shipped(str(FILE))
    values = {"worker_class": "asyncio" if find_spec("uvloop") is None else "uvloop"} | _values(ours)
    if FILE.exists():
        values |= _values(FILE)
    config = Config.from_mapping(values)
    _check_certificate(config)
    if workers is not None:
        config.workers = workers
    if host is not None or port is not None:
        first_host, first_port = _host_and_port(config.bind[0])
        config.bind = _join(host if host is not None else first_host, port if port is not None else first_port)
    return config


def listen(config: Config) -> list[Listening]:
    """Open every TCP address of the configuration, and replace it there with the descriptor of the open socket.

    Connections wait in the backlog until a worker runs. Raise SettingsError when another program uses an address or
    the path of a Unix socket. Hypercorn's own binding detects neither: it sets SO_REUSEPORT, so a second server may
    take the same port, and it removes a Unix socket that is in use.
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


def _check_certificate(config: Config) -> None:
    """Raise SettingsError when the TLS files cannot be loaded; otherwise every worker would fail."""
    try:
        config.create_ssl_context()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"{FILE}: certfile, keyfile, ca_certs: cannot be used for TLS: {reason}") from error


def warnings(config: Config) -> list[str]:
    """Return a sentence for each setting that is allowed but risky."""
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
    """Raise SettingsError when a program listens at the path, or the path is a file or folder."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            raise SettingsError(f"unix:{path}: the path exists and is not a socket: choose another path")
    except FileNotFoundError:
        if not Path(path).absolute().parent.is_dir():
            raise SettingsError(f"unix:{path}: the folder does not exist") from None
        return
    except OSError as error:
        raise SettingsError(f"unix:{path}: {error.strerror}") from error
    with socket.socket(socket.AF_UNIX) as other:
        # With a full backlog the connection attempt times out; a program still owns the socket.
        other.settimeout(1)
        try:
            other.connect(path)
        except ConnectionRefusedError:
            return  # The socket of a program that has ended.
        except TimeoutError:
            pass
        except OSError as error:
            raise SettingsError(f"unix:{path}: {error.strerror}") from error
    raise SettingsError(f"unix:{path}: another program uses this socket: stop it, or choose another path")


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
            shown = "" if "password" in key else f" = {value!r}"
            raise SettingsError(f"{path}: {key}{shown}: {problem}")
    return values


def _problem(key: str, value: object) -> str | None:
    """Return why the value is refused. Hypercorn would fail in the middle of the start, or at every connection."""
    allowed, words = _RULES.get(key) or _rule_like(getattr(Config, key, None))
    return None if allowed(value) else words


def _rule_like(default: object) -> _Rule:
    if isinstance(default, bool):
        return (lambda value: isinstance(value, bool)), "must be true or false"
    if isinstance(default, int | float):
        return _is_number, "must be a number, and not below 0"
    return (lambda _: True), ""


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]  # see the line before


def _is_whole(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)


def _is_log(value: object) -> bool:
    return value == "-" or (isinstance(value, str) and Path(value).absolute().parent.is_dir())


def _is_loop(value: object) -> bool:
    return value == "asyncio" or (value == "uvloop" and find_spec("uvloop") is not None)


_Rule = tuple[Callable[[object], bool], str]
_WHOLE = ("workers", "backlog", "keep_alive_max_requests", "h11_max_incomplete_size", "max_requests")
_TEXTS = ("certfile", "keyfile", "keyfile_password", "ca_certs", "ciphers", "pid_path", "statsd_host", "statsd_prefix")
_LISTS = ("alpn_protocols", "alt_svc_headers", "server_names")
_BINDS = ("bind", "insecure_bind", "quic_bind")
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_WHOLE, (_is_whole, "must be a whole number of at least 1")),
    **dict.fromkeys(_TEXTS, ((lambda value: isinstance(value, str)), "must be a string")),
    **dict.fromkeys(_LISTS, (_is_list, "must be a list of strings")),
    **dict.fromkeys(
        _BINDS, ((lambda value: bool(value) and (isinstance(value, str) or _is_list(value))), "must name an address")
    ),
    **dict.fromkeys(("errorlog", "accesslog"), (_is_log, 'must be "-", or a file in an existing folder')),
    **dict.fromkeys(("read_timeout", "websocket_ping_interval"), (_is_number, "must be a number, and not below 0")),
    "worker_class": (_is_loop, "must be asyncio, or uvloop when it is installed"),
}


def _listen(host: str, port: int, scheme: str, config: Config) -> Listening:
    if not host:
        # The system reads an empty host as every address; that must not happen by an omission.
        raise SettingsError(f"the host before :{port} is missing; 0.0.0.0 listens on every address of this machine")
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
            return f"another program listens on {address}: stop it, or choose another port with --port"
        case OSError(errno=errno.EACCES):
            return (
                f"no permission to listen on {address}: only root may use ports below 1024, choose another with --port"
            )
        case OSError():
            return f"cannot listen on {address}: {error.strerror}"
    return f"cannot listen on {address}: {error}"


def _host_and_port(bind: str) -> tuple[str, int]:
    host, separator, port = bind.rpartition(":")
    if bind.endswith("]") or not separator:
        host, port = bind, "5000"
    if not port.isdecimal():
        raise SettingsError(f"{bind!r} is not an address: write HOST:PORT, with an IPv6 host in [brackets]")
    return host.strip("[]"), int(port)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
