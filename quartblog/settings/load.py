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
    """The settings, and where they came from."""

    settings: Settings
    origins: dict[tuple[str, str], str]
    """Who set each (section, key) that is not left at its default."""
    file: Path | None
    """The file that was read; None where none was named and ./config.toml is not there."""

    @property
    def missing(self) -> str:
        """Behind a message: where a file was looked for in vain, for whoever has one elsewhere; "" with a file."""
        return "" if self.file else f"; there is no {DEFAULT_FILE} in {Path.cwd()}"


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read config.toml and the environment.

    The file is `path`, else the one QUARTBLOG_CONFIG names, else ./config.toml where there is one. Raise
    SettingsError for a file that was named and is missing, an unknown key or a value that is not allowed.
    """
    return load(path, environ).settings


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Like `load_settings`, and tell where each value came from."""
    file = _file(path, environ)
    return _checked(_sources(file, environ), file)


def load_outbox(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return [delivery] outbox, whatever is wrong with the other keys. Raise SettingsError where it cannot be known."""
    file = _file(path, environ)
    alone = [_outbox_alone(source) for source in _sources(file, environ)]
    return _checked(alone, file).settings.delivery.outbox


def _sources(file: Path | None, environ: Mapping[str, str]) -> list[Source]:
    """The strongest first."""
    return [from_variables(environ), from_original_mail(environ), from_file(file) if file else Source({}, {}, [])]


def _outbox_alone(source: Source) -> Source:
    delivery = source.values.get("delivery")
    if not isinstance(delivery, dict) or "outbox" not in delivery:
        return Source({}, source.origins, [])
    return Source({"delivery": {"outbox": delivery["outbox"]}}, source.origins, [])


def _checked(strongest_first: list[Source], file: Path | None) -> Loaded:
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
    return Loaded(settings, origins, file)


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The file that is read where none is named: what QUARTBLOG_CONFIG says, else ./config.toml, there or not."""
    return Path(environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)


def _file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or environ.get(CONFIG_VARIABLE)
    file = path or config_file(environ)
    return file if named or file.exists() else None


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
