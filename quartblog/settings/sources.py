"""config.toml and the environment -> raw values with the name of the file or variable that set them."""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from quartblog.errors.exceptions import SettingsError
from quartblog.settings.masking import shown
from quartblog.settings.sections import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = "QUARTBLOG_"
CONFIG_VARIABLE = "QUARTBLOG_CONFIG"

_ORIGINAL_MAIL = {
    "MAIL_SERVER": "server",
    "MAIL_PORT": "port",
    "MAIL_USE_TLS": "tls",
    "MAIL_USERNAME": "username",
    "MAIL_PASSWORD": "password",
    "MAIL_ADMINS": "admins",
}
_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}
_RAW = re.compile("[\ud800-\udfff]")
QUOTED = (
    "the value includes its quotes; remove them, because a Docker env file keeps quotes "
    "(put a value that really starts and ends with quotes into config.toml)"
)
# tomllib's messages for a repeated key or section, such as `routes = []` above [[delivery.routes]].
_TWICE = re.compile("Cannot (declare|mutate|overwrite)")


class Source(NamedTuple):
    """The values of one place: section -> key -> raw value, and (section, key) -> the place's name for messages."""

    values: dict[str, Any]
    origins: dict[tuple[str, str], str]
    problems: list[str]


def known_keys() -> list[tuple[str, str]]:
    """Return every (section, key) in the order of config.toml."""
    return [
        (section, key) for section in Settings.model_fields for key in type(getattr(Settings(), section)).model_fields
    ]


def variable(section: str, key: str) -> str:
    """Return the name of the environment variable that overrides a key."""
    return f"{PREFIX}{section}__{key}".upper()


def from_variables(environ: Mapping[str, str]) -> Source:
    """Read QUARTBLOG_<SECTION>__<KEY>."""
    source = Source({}, {}, [])
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        section, separator, key = name.removeprefix(PREFIX).partition("__")
        if separator:
            _put(source, section.lower(), key.lower(), environ[name], name)
        elif meant := _with_one_underscore().get(name):
            source.problems.append(f"{name}: unknown variable; did you mean {meant}?")
        # Ignore any other name: Kubernetes sets QUARTBLOG_PORT and more for a service called quartblog.
    return source


def from_original_mail(environ: Mapping[str, str]) -> Source:
    """Read the MAIL_… variables. An empty one counts as not set."""
    source = Source({}, {}, [])
    for name, key in _ORIGINAL_MAIL.items():
        value = environ.get(name, "")
        if not value:
            continue
        if key == "tls" and not is_quoted(value):
            if value.lower() not in _YES | _NO:
                source.problems.append(f"{name} = {value!r}: must be true (for starttls) or false")
                continue
            value = "starttls" if value.lower() in _YES else "none"
        _put(source, "mail", key, value, name)
    return source


def from_file(path: Path) -> Source:
    """Read config.toml. Raise SettingsError if it cannot be read; the message names the broken line."""
    try:
        # Some editors write a byte order mark.
        values = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 at byte {error.start}") from error
    except RecursionError:
        raise SettingsError(f"{path}: is not TOML: nested too deeply") from None
    except ValueError as error:  # Not only tomllib's own: int() raises for thousands of digits.
        hint = "; the file defines it twice" if _TWICE.search(str(error)) else ""
        raise SettingsError(f"{path}: is not TOML: {error}{hint}") from error
    source = Source(values, {}, [])
    for section, content in list(values.items()):
        if isinstance(content, dict):
            source.origins.update({(section, key): str(path) for key in content})
        elif section in Settings.model_fields:
            source.problems.append(f"{path}: [{section}]: must be a section with keys below it")
            del values[section]
        else:
            source.origins[section, ""] = str(path)
    return source


def _decoded(value: str) -> str:
    """Return a variable's text as UTF-8, which Python does not decode in the locale "C"."""
    if _RAW.search(value) is None:
        return value
    with suppress(UnicodeError):
        return os.fsencode(value).decode()
    return value


def nearest(word: str, known: list[str]) -> str | None:
    """Return the most similar known word, None if none is similar."""
    return next(iter(get_close_matches(word, known, n=1)), None)


def is_quoted(value: str) -> bool:
    """Whether the value of a variable includes quotes around it, which a Docker env file keeps."""
    value = value.strip()
    return len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"


def _put(source: Source, section: str, key: str, value: str, name: str) -> None:
    value = _decoded(value)
    if is_quoted(value):
        # Hide the value of an unknown key, because it may be a secret.
        said = f" = {shown(section, key, value)}" if (section, key) in known_keys() else ""
        source.problems.append(f"{name}: [{section}] {key}{said}: {QUOTED}")
        return
    source.values.setdefault(section, {})[key] = value
    source.origins[section, key] = name


def _with_one_underscore() -> dict[str, str]:
    return {variable(section, key).replace("__", "_"): variable(section, key) for section, key in known_keys()}
