"""Value of a key -> text for the operator, as config.toml would write it, with secrets masked."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from quartblog.settings.sections import Settings

MASK = "********"

# A name with an escape (%) may be any name, and drivers split the query at semicolons too.
_PASSWORD_IN_QUERY = re.compile(r"((?:^|[?&;])[^=&;]*(?:pass|pwd|secret|token|key|%)[^=&;]*=)[^&;]*", re.IGNORECASE)
_CREDENTIALS = re.compile(r":[^@\s]*@")
# The driver's name at the start of a database URL; it matches even if the rest is invalid.
_SCHEME = re.compile(r"(?:sqlite|postgres(?:ql)?)(?:\+\w+)?:")
_NAME = re.compile(r"[^:/?#@]*")


def plain(section: str, key: str, value: object) -> object:
    """Return the value as a JSON type, with secrets masked."""
    if value is None:
        return "" if key == "ca_file" else "auto"
    if is_secret(section, key):
        return _without_secret(section, key, value)
    match value:
        case BaseModel():
            value = value.model_dump(mode="json", exclude_none=True)
        case list() | tuple():
            value = [plain(section, key, item) for item in value]
        case dict():
            value = {name: plain(section, key, item) for name, item in value.items()}
        case Path():
            value = str(value)
        # Operators may write a URL with credentials into any key by mistake.
        case str() if "://" not in value and _SCHEME.match(value):
            value = _scheme_of(value)
        case str() if "://" in value or _CREDENTIALS.search(value) or (section, key) == ("mail", "server"):
            value = _masked(value)
    return value


def shown(section: str, key: str, value: object) -> str:
    """Return the value as config.toml would write it, with secrets masked."""
    text = json.dumps(plain(section, key, value), ensure_ascii=False, default=str)
    # Escape invisible characters: JSON does not escape U+2028 or characters that change the text direction.
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


@cache
def is_secret(section: str, key: str) -> bool:
    """Whether the key's type is secret. An unknown key counts as not secret."""
    sections = Settings.model_fields
    keys = type(sections[section].default).model_fields if section in sections else {}
    return key in keys and _holds_secret(keys[key].annotation)


def _holds_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


def _without_secret(section: str, key: str, value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_without_secret(section, key, item) for item in value]
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if (section, key) == ("database", "url") and isinstance(text, str):
        return _masked(text) if _is_url(text) else _scheme_of(text)
    return MASK if text else text


def _masked(url: str) -> str:
    """Mask the credentials up to the last "@", because a password may hold any character; keep a plain user name."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    credentials, at, place = rest.rpartition("@")
    if at and not (scheme.startswith("sqlite") and rest.startswith("/")):
        name, colon, _ = credentials.partition(":")
        if not _NAME.fullmatch(name):
            credentials = MASK
        elif colon:
            credentials = f"{name}:{MASK}"
        rest = f"{credentials}@{place}"
    return _PASSWORD_IN_QUERY.sub(rf"\1{MASK}", f"{scheme}{separator}{rest}")


def _is_url(text: str) -> bool:
    try:
        make_url(text)
    except (ArgumentError, ValueError):
        return False
    return True


def _scheme_of(text: str) -> str:
    """Return only the scheme of an invalid URL, because any other part of it may be the password."""
    found = _SCHEME.match(text)
    return f"{found[0] if found else ''}{MASK}"
