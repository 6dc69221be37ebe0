"""Sources -> one checked Settings, or a SettingsError that lists everything that is wrong at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from quartblog.errors.exceptions import SettingsError
from quartblog.settings.problems import sentences
from quartblog.settings.sections import Settings
from quartblog.settings.sources import (
    CONFIG_VARIABLE,
    Source,
    from_file,
    from_original_mail,
    from_variables,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_FILE = Path("config.toml")


class Loaded(NamedTuple):
    """The settings, and for each (section, key) that is not left at its default, who set it."""

    settings: Settings
    origins: dict[tuple[str, str], str]


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read config.toml and the environment.

    The file is `path`, else the one QUARTBLOG_CONFIG names, else ./config.toml where there is one. Raise
    SettingsError for a file that was named and is missing, an unknown key or a value that is not allowed.
    """
    return load(path, environ).settings


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Like `load_settings`, and tell where each value came from."""
    return _checked(_sources(path, environ))


def load_outbox(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return [delivery] outbox, whatever is wrong with the other keys. Raise SettingsError where it cannot be known."""
    return _checked([_outbox_alone(source) for source in _sources(path, environ)]).settings.delivery.outbox


def _sources(path: Path | None, environ: Mapping[str, str]) -> list[Source]:
    """The strongest first."""
    return [from_variables(environ), from_original_mail(environ), _file(path, environ)]


def _outbox_alone(source: Source) -> Source:
    delivery = source.values.get("delivery")
    if not isinstance(delivery, dict) or "outbox" not in delivery:
        return Source({}, source.origins, [])
    return Source({"delivery": {"outbox": delivery["outbox"]}}, source.origins, [])


def _checked(strongest_first: list[Source]) -> Loaded:
    origins: dict[tuple[str, str], str] = {}
    for source in reversed(strongest_first):
        origins |= source.origins
    problems = [problem for source in strongest_first for problem in source.problems]
    settings = Settings()
    try:
        settings = _merged(strongest_first)
    except ValidationError as error:
        problems += sentences(error, origins)
    if problems:
        raise SettingsError("\n".join(problems))
    return Loaded(settings, origins)


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The file that is read where none is named: what QUARTBLOG_CONFIG says, else ./config.toml, there or not."""
    return Path(environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)


def _file(path: Path | None, environ: Mapping[str, str]) -> Source:
    named = path or environ.get(CONFIG_VARIABLE)
    file = path or config_file(environ)
    return from_file(file) if named or file.exists() else Source({}, {}, [])


def _merged(strongest_first: list[Source]) -> Settings:
    class Sourced(Settings, BaseSettings):
        model_config = SettingsConfigDict(case_sensitive=True)

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: object, **__: object
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(InitSettingsSource(settings_cls, source.values) for source in strongest_first)

    sourced = Sourced()
    return Settings(**{section: getattr(sourced, section) for section in Settings.model_fields})
