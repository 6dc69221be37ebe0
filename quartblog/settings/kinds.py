"""Raw value of a key -> typed value, or an error that says which values are allowed.

A list may be `a, b` or `["a", "b"]`, both in the file and in a variable, whose value is always text. The message of a
ValueError is shown to the operator; for any other error, the type's Allowed is shown.
"""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
import unicodedata
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from quartblog.delivery import WeeklyTime
from quartblog.delivery.tools import ascii_host

SHORTEST_SECRET = 32
"""Characters. 32 hexadecimal digits are 128 bits, the least that resists guessing."""
SHORTEST_TOKEN = 16
"""Characters. A token is guessed over the network only, one request for each try."""
SQLITE_OPTIONS = {"timeout", "detect_types", "isolation_level", "check_same_thread", "cached_statements", "uri"}
"""The options of sqlite3.connect besides the file."""
POSTGRESQL_OPTIONS = {"host", "port", "user", "password", "database", "passfile", "service", "servicefile"}
POSTGRESQL_OPTIONS |= {"ssl", "target_session_attrs", "krbsrvname", "gsslib", "prepared_statement_cache_size"}
"""The options of asyncpg.connect that may be text; it has no sslmode."""

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_WITH_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::\d{1,5})?")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}: ?[!-~](?:[ -~]*[!-~])?")
# Unicode lists these as letters or symbols, but they are invisible.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")


@dataclass(frozen=True)
class Allowed:
    """The end of the sentence "must be …", for a value whose Python type alone does not explain it."""

    words: str


def _not_a_boolean(value: object) -> object:
    # Python treats True as 1, but `port = true` is a mistake.
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "a number is wanted")
    return value


def items(value: object) -> object:
    """Return a list from the text `a, b` or JSON; return any other value unchanged."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [item.strip() for item in value.split(",") if item.strip()]
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise PydanticCustomError("list", "a list is wanted") from None


def _unset(value: object) -> object:
    # TOML has no null, so config.toml writes the default of these keys as "" or "auto".
    return None if value in ("", "auto") else value


def _origin(value: str) -> str:
    """Return scheme, host and port without a trailing slash."""
    try:
        parts = urlsplit(value)
        host, port = _ascii_host(parts.hostname or ""), parts.port
    except ValueError:
        host, port = None, None
    else:
        plain = parts.scheme in {"http", "https"} and parts.path in {"", "/"} and port != 0
        plain = plain and value.isprintable() and not set(value) & set(" ?#@\\")
        host = host if plain else None
    if host is None:
        raise PydanticCustomError("origin", "an address is wanted")
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _ascii_host(name: str) -> str | None:
    """Return the name or address in the form of a Host header; None for an invalid one, such as "*.example.org"."""
    try:
        address = ipaddress.ip_address(name[1:-1] if name[:1] == "[" and name[-1:] == "]" else name)
    except ValueError:
        pass
    else:
        return str(address) if address.version == 4 else f"[{address}]"
    if not name.isascii():
        # Not the standard library's codec, to which straße.example is another domain, strasse.example.
        name = ascii_host(name) or ""
    return name if all(map(_LABEL.fullmatch, name.removesuffix(".").split("."))) else None


def _host(value: str) -> str:
    """Return the mail server's host; an IPv6 address loses its brackets."""
    host = _ascii_host(value) if value else ""
    if host is None:
        raise PydanticCustomError("host", "a host is wanted")
    return host.strip("[]")


def _site_host(value: str) -> str:
    """Return one of the site's names without its port; the check of the Host header ignores ports too."""
    found = _WITH_PORT.fullmatch(value)
    host = _ascii_host(found["host"] if found else value)
    if host is None:
        raise PydanticCustomError("host", "a host is wanted")
    return host


def _engine(value: SecretStr) -> SecretStr:
    try:
        url = make_url(value.get_secret_value())
    except (ArgumentError, ValueError):  # The ValueError of an invalid port quotes it, maybe with a password.
        raise PydanticCustomError("engine", "a URL is wanted") from None
    if url.drivername == "postgresql+asyncpg":
        if find_spec("asyncpg") is None:
            raise ValueError('PostgreSQL needs another library: pip install "quartblog[postgres]"')
        if url.port is not None and not 1 <= url.port <= 65535:
            raise ValueError("the port must be a whole number from 1 to 65535")
        _check_options(url, POSTGRESQL_OPTIONS)
        return value
    if url.drivername != "sqlite+aiosqlite" or url.host or url.username or url.password or url.port:
        raise PydanticCustomError("engine", "another engine is wanted")
    if url.database in {None, "", ":memory:"}:
        raise ValueError("processes cannot share a database in memory; name a file")
    _check_options(url, SQLITE_OPTIONS)
    file = str(at_home(Path(str(url.database))))
    if file != url.database:
        return SecretStr(url.set(database=file).render_as_string(hide_password=False))
    return value


def is_installed(library: str) -> bool:
    """Whether a library, such as that of an extra, can be imported."""
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def _is_web_server(url: str) -> bool:
    """Whether it is an http address of a host. Raise ValueError for an impossible one."""
    parts = urlsplit(url)
    plain = url.isprintable() and not set(url) & set(" \\")
    return plain and parts.scheme in {"http", "https"} and parts.port != 0 and bool(_ascii_host(parts.hostname or ""))


def _sentry_dsn(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text:
        return value
    try:
        parts = urlsplit(text)
        usable = _is_web_server(text) and bool(parts.username) and not parts.query
        usable = usable and parts.path.rpartition("/")[2].isalnum()
    except ValueError:
        usable = False
    if not usable:
        raise PydanticCustomError("dsn", "a DSN is wanted")
    if not is_installed("sentry_sdk"):
        raise ValueError('Sentry needs another library: pip install "quartblog[sentry]"')
    return value


def _otlp_endpoint(value: str) -> str:
    """Return the address of the collector's logs; one without a path gets the path of the standard."""
    if not value:
        return value
    try:
        parts = urlsplit(value)
        usable = _is_web_server(value) and not set(value) & set("?#@")
    except ValueError:
        usable = False
    if not usable:
        raise PydanticCustomError("endpoint", "an address is wanted")
    if not is_installed("opentelemetry.exporter.otlp.proto.http"):
        raise ValueError('OpenTelemetry needs other libraries: pip install "quartblog[otlp]"')
    return value if parts.path.strip("/") else f"{value.rstrip('/')}/v1/logs"


def _header(value: SecretStr) -> SecretStr:
    if not _HEADER.fullmatch(value.get_secret_value()):
        raise PydanticCustomError("header", "a header is wanted")
    return value


def _check_options(url: URL, known: set[str]) -> None:
    if url.query.get("uri") == "true":
        return  # SQLite itself reads the other options, see its documentation of URI filenames.
    if not known >= set(url.query):
        raise ValueError(f"the only options allowed after the ? are {', '.join(sorted(known))}")
    try:
        url.get_dialect()().create_connect_args(url)
    except (ArgumentError, ValueError):  # Both quote the value.
        raise ValueError("an option after the ? has an invalid value") from None


def at_home(path: Path) -> Path:
    """Return the path with its ~ replaced by the home folder. Raise ValueError."""
    if "\0" in str(path):
        raise ValueError("must not hold a NUL character")
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("starts with ~, but that home folder does not exist; write the full path") from None


def _visible(value: str) -> str:
    if not any(unicodedata.category(character)[0] in "LNPS" and character not in _BLANK for character in value):
        raise PydanticCustomError("line", "something to see is wanted")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("address", "an address is wanted")
    return value


Whole = Annotated[int, BeforeValidator(_not_a_boolean)]
Share = Annotated[
    float,
    BeforeValidator(_not_a_boolean),
    Field(ge=0, lt=1, allow_inf_nan=False),
    Allowed("a number from 0 up to, but not including, 1"),
]
Seconds = Annotated[
    float,
    BeforeValidator(_not_a_boolean),
    # threading accepts waits of up to 292 years.
    Field(gt=0, le=1e9, allow_inf_nan=False),
    Allowed("a number of seconds above 0 and at most 1000000000"),
]
# Control characters, line separators, and characters that change the text direction.
_BREAKS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
Line = Annotated[
    str,
    Field(
        min_length=1,
        max_length=60,
        pattern=rf"^[^{_BREAKS}]*$",
    ),
    AfterValidator(_visible),
    Allowed("one line of 1 to 60 characters"),
]

OptionalLine = Annotated[
    str,
    Field(max_length=60, pattern=rf"^[^{_BREAKS}]*$"),
    Allowed('one line of at most 60 characters, or "" for none'),
]


def _token(value: SecretStr) -> SecretStr:
    # What an Authorization header carries without an encoding.
    text = value.get_secret_value()
    if text and not (len(text) >= SHORTEST_TOKEN and text.isascii() and text.isprintable() and " " not in text):
        raise PydanticCustomError("token", "a token is wanted")
    return value


def _weekly(value: str) -> str:
    try:
        return value and str(WeeklyTime.parse(value))
    except ValueError:
        raise PydanticCustomError("weekly", "a time of the week is wanted") from None


def _with_a_name(path: Path) -> Path:
    if not path.name:
        raise ValueError("must be the path of a file")
    return path


def _certificates(path: Path | None) -> Path | None:
    if path is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (OSError, ValueError) as error:  # An SSLError, of a file without certificates, is an OSError.
            raise ValueError(f"cannot be used, {error}; it must be a file of certificates in PEM") from None
    return path


Folder = Annotated[Path, AfterValidator(at_home)]
FilePath = Annotated[Path, AfterValidator(at_home), AfterValidator(_with_a_name)]
Certificates = Annotated[
    FilePath | None,
    BeforeValidator(_unset),
    AfterValidator(_certificates),
    Allowed('the path of a file of certificates in PEM, or "" for those of the system alone'),
]
FileName = Annotated[
    str,
    Field(pattern=r"^[^/\\\x00-\x1f]*[^/\\\x00-\x1f.][^/\\\x00-\x1f]*$"),
    Allowed("the name of a file, without a folder"),
]
OptionalHost = Annotated[
    str,
    AfterValidator(_host),
    Allowed('a host name or address without scheme, port and path, or "" for none'),
]
# As in the delivery, which also accepts a display name.
_ADDRESS = r"[^@\s,;:<>\"]+@[^@\s,;:<>\"]+"
Address = Annotated[
    str,
    Field(pattern=rf"^{_ADDRESS}$"),
    AfterValidator(_printable),
    Allowed("an e-mail address such as ops@example.org"),
]
OptionalAddress = Annotated[
    str,
    Field(pattern=rf"^({_ADDRESS})?$"),
    AfterValidator(_printable),
    Allowed('an e-mail address such as blog@example.org, or "" for the first of the admins'),
]
Origin = Annotated[
    str,
    AfterValidator(_origin),
    Allowed("http:// or https:// with a host, optionally a port, and no path"),
]
Engine = Annotated[
    SecretStr,
    AfterValidator(_engine),
    Allowed("sqlite+aiosqlite:///FOLDER/FILE or postgresql+asyncpg://USER:PASSWORD@HOST/NAME"),
]
Secret = Annotated[
    SecretStr,
    Field(min_length=SHORTEST_SECRET),
    Allowed(f"at least {SHORTEST_SECRET} random characters"),
]

SentryDsn = Annotated[
    SecretStr,
    AfterValidator(_sentry_dsn),
    Allowed('the DSN of a project such as https://KEY@sentry.example.org/3, or "" for none'),
]
OtlpEndpoint = Annotated[
    str,
    AfterValidator(_otlp_endpoint),
    Allowed('http:// or https:// with a host, optionally a port and a path, or "" for none'),
]
OtlpHeaders = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_header)], ...],
    BeforeValidator(items),
    Allowed('a list of headers such as ["Authorization: Bearer TOKEN"]'),
]
Hosts = Annotated[
    tuple[Annotated[str, AfterValidator(_site_host)], ...],
    BeforeValidator(items),
    Allowed('a list of host names such as ["blog.example.org"], without wildcards'),
]
Addresses = Annotated[
    tuple[Address, ...], BeforeValidator(items), Allowed('a list of e-mail addresses such as ["ops@example.org"]')
]
Secrets = Annotated[
    tuple[Secret, ...],
    BeforeValidator(items),
    Allowed(f"a list of secrets, each at least {SHORTEST_SECRET} characters"),
]
Prefix = Annotated[
    str,
    Field(pattern=r"^/[^\s?#]*$"),
    Allowed('the beginning of a path such as "/user"'),
]
OptionalSecret = Annotated[
    Secret | None, BeforeValidator(_unset), Allowed(f'at least {SHORTEST_SECRET} random characters, or ""')
]
OptionalToken = Annotated[
    SecretStr,
    AfterValidator(_token),
    Allowed(f'at least {SHORTEST_TOKEN} printable ASCII characters without spaces, or ""'),
]
OptionalWeeklyTime = Annotated[
    str,
    AfterValidator(_weekly),
    Allowed('a weekday and a time in UTC such as "monday 08:00", or "" for none'),
]
Auto = Annotated[bool | None, BeforeValidator(_unset), Allowed('true, false or "auto"')]
