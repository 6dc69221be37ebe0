"""The kinds of value config.toml knows: how each is read, and how "what is allowed" is said in words.

A variable is always text and a file is not, so a list is accepted as `a, b` and as `["a", "b"]` in both places.
A kind that raises ValueError has its own words shown; anything else is answered with the kind's Allowed.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

SHORTEST_SECRET = 32
"""Characters: 32 of hexadecimal are 128 bits, the least that nobody can guess."""


@dataclass(frozen=True)
class Allowed:
    """The end of the sentence "must be …" for a value that the type alone does not explain."""

    words: str


def _not_a_boolean(value: object) -> object:
    # Python counts True as 1, and `port = true` is a slip, not a port.
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "a number is wanted")
    return value


def items(value: object) -> object:
    """A list from a variable's text: `a, b` or JSON."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [item.strip() for item in value.split(",") if item.strip()]
    try:
        return json.loads(value)
    except ValueError:
        raise PydanticCustomError("list", "a list is wanted") from None


def _unset(value: object) -> object:
    # TOML has no null, so config.toml writes the default of these keys as "" or "auto".
    return None if value in ("", "auto") else value


def _origin(value: str) -> str:
    """Return scheme, host and port without a closing slash."""
    try:
        parts = urlsplit(value)
        plain = parts.port is None or parts.port > 0
    except ValueError:
        plain = False
    else:
        plain = plain and parts.scheme in {"http", "https"} and bool(parts.hostname)
        plain = plain and parts.path in {"", "/"} and not set(value) & set("?#@\\")
        plain = plain and value.isprintable() and " " not in value
    if not plain:
        raise PydanticCustomError("origin", "an address is wanted")
    return value.removesuffix("/")


def _engine(value: SecretStr) -> SecretStr:
    try:
        driver = make_url(value.get_secret_value()).drivername
    except ArgumentError:
        driver = ""
    if driver not in {"sqlite+aiosqlite", "postgresql+asyncpg"}:
        raise PydanticCustomError("engine", "another engine is wanted")
    if driver == "postgresql+asyncpg" and find_spec("asyncpg") is None:
        raise ValueError('PostgreSQL needs one more library: pip install "quartblog[postgres]"')
    return value


def is_loopback(host: str) -> bool:
    """Whether what is sent to this host stays on the machine."""
    if host.lower().rstrip(".") in {"localhost", "localhost.localdomain"}:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


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
    Field(gt=0, allow_inf_nan=False),
    Allowed("a number of seconds above 0"),
]
# Control characters and what splits a line.
_BREAKS = r"\x00-\x1f\x7f\x85\u2028\u2029"
Line = Annotated[
    str,
    Field(
        min_length=1,
        max_length=60,
        pattern=rf"^[^{_BREAKS}]*[^\s{_BREAKS}][^{_BREAKS}]*$",
    ),
    Allowed("one line of 1 to 60 characters"),
]


def _with_a_name(path: Path) -> Path:
    if not path.name:
        raise ValueError("must be the path of a file")
    return path


FilePath = Annotated[Path, AfterValidator(_with_a_name)]
FileName = Annotated[
    str,
    Field(pattern=r"^[^/\\\x00-\x1f]*[^/\\\x00-\x1f.][^/\\\x00-\x1f]*$"),
    Allowed("the name of a file, without a folder"),
]
Host = Annotated[
    str,
    Field(pattern=r"^[^\s/@,]+$"),
    Allowed("a host name or address, without scheme and path"),
]
OptionalHost = Annotated[
    str,
    Field(pattern=r"^[^\s/@,]*$"),
    Allowed('a host name or address, or "" for none'),
]
Address = Annotated[
    str,
    Field(pattern=r"^[^@\s,;<>\x00-\x1f\x7f]+@[^@\s,;<>\x00-\x1f\x7f]+$"),
    Allowed("an e-mail address such as ops@example.org"),
]
OptionalAddress = Annotated[
    str,
    Field(pattern=r"^([^@\s,;<>\x00-\x1f\x7f]+@[^@\s,;<>\x00-\x1f\x7f]+)?$"),
    Allowed('an e-mail address such as blog@example.org, or "" for the first of the admins'),
]
Origin = Annotated[
    str,
    AfterValidator(_origin),
    Allowed("http:// or https:// with a host and, if need be, a port, but no path"),
]
Engine = Annotated[
    SecretStr,
    AfterValidator(_engine),
    Allowed("sqlite+aiosqlite:///FOLDER/FILE or postgresql+asyncpg://USER:PASSWORD@HOST/NAME"),
]
Secret = Annotated[
    SecretStr,
    Field(min_length=SHORTEST_SECRET),
    Allowed(f"at least {SHORTEST_SECRET} characters nobody can guess"),
]

Hosts = Annotated[
    tuple[Host, ...], BeforeValidator(items), Allowed('a list of host names such as ["blog.example.org"]')
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
    Secret | None, BeforeValidator(_unset), Allowed(f'at least {SHORTEST_SECRET} characters nobody can guess, or ""')
]
Auto = Annotated[bool | None, BeforeValidator(_unset), Allowed('true, false or "auto"')]
