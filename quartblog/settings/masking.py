"""A value -> the text an operator may see: as config.toml would write it, with what is secret masked."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, SecretStr

from quartblog.settings.sections import Settings

MASK = "********"

# The password may itself hold "@" or ":": everything from the first ":" to the last "@" of the authority goes.
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^:/@]*):.*(?=@)", re.DOTALL)
_PASSWORD_IN_QUERY = re.compile(r"((?:^|[?&])[^=&]*pass[^=&]*=)[^&]*", re.IGNORECASE)


def plain(section: str, key: str, value: object) -> object:
    """Return the value as JSON knows it, with what is secret masked."""
    if value is None:
        return "auto"
    if is_secret(section, key):
        return _without_secret(section, key, value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, (list, tuple)):
        return [plain(section, key, item) for item in value]
    return str(value) if isinstance(value, Path) else value


def shown(section: str, key: str, value: object) -> str:
    """Return the value as config.toml would write it, with what is secret masked."""
    return json.dumps(plain(section, key, value), ensure_ascii=False, default=str)


@cache
def is_secret(section: str, key: str) -> bool:
    """Whether the key's type says that its value is nobody's business. Keys nobody knows hold no secret."""
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
        return _PASSWORD_IN_QUERY.sub(rf"\1{MASK}", _PASSWORD_IN_URL.sub(rf"\1:{MASK}", text))
    return MASK if text else text
