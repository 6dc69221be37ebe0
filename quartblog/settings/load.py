"""config.toml and environment -> one checked Settings, or a SettingsError that lists every problem."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from quartblog.errors.exceptions import SettingsError
from quartblog.settings import kinds
from quartblog.settings.masking import is_secret, plain
from quartblog.settings.problems import sentences
from quartblog.settings.sections import Settings
from quartblog.settings.sources import (
    CONFIG_VARIABLE,
    QUOTED,
    Source,
    from_file,
    from_original_mail,
    from_variables,
    is_quoted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_FILE = Path("config.toml")
PROGRAM = "the program"
"""The origin of values that a program has passed."""


class Loaded(NamedTuple):
    """The settings and their origins."""

    settings: Settings
    origins: dict[tuple[str, str], str]
    """(section, key) -> the file or variable that set it; keys at their default are missing."""
    file: Path | None
    """The file that was read; None if none was named and ./config.toml does not exist."""
    file_holds_secrets: bool
    """Whether the file holds a password or key, even one that a variable overrides."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return settings that a program has made."""
        changed = {
            (section, key): PROGRAM
            for section in settings.model_fields_set
            for key in getattr(settings, section).model_fields_set
        }
        return cls(settings, changed, None, file_holds_secrets=False)

    @property
    def missing(self) -> str:
        """The end of a message when no file was read: the folder without a config.toml. Empty otherwise."""
        return "" if self.file else f"; there is no {DEFAULT_FILE} in {Path.cwd()}"


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read config.toml and the environment.

    The file is `path`, else the one that QUARTBLOG_CONFIG names, else ./config.toml if it exists. Raise SettingsError
    for a named file that is missing, an unknown key or an invalid value.
    """
    return load(path, environ).settings


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Like `load_settings`, with the origin of each value."""
    file = _file(path, environ)
    return _checked(_sources(file, environ), file)


def load_outbox(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return [delivery] outbox and ignore problems of other keys. Raise SettingsError if its own value is invalid."""
    file = _file(path, environ)
    alone = [_outbox_alone(source) for source in _sources(file, environ)]
    return _checked(alone, file).settings.delivery.outbox


def _sources(file: Path | None, environ: Mapping[str, str]) -> list[Source]:
    """Return the sources, the strongest first."""
    return [from_variables(environ), from_original_mail(environ), from_file(file) if file else Source({}, {}, [])]


def _outbox_alone(source: Source) -> Source:
    delivery = source.values.get("delivery")
    about_it = [problem for problem in source.problems if "[delivery] outbox" in problem]
    if not isinstance(delivery, dict) or "outbox" not in delivery:
        return Source({}, source.origins, about_it)
    return Source({"delivery": {"outbox": delivery["outbox"]}}, source.origins, about_it)


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
    *_, file_source = strongest_first
    return Loaded(settings, origins, file, _holds_secrets(file_source))


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file that is read by default: the one that QUARTBLOG_CONFIG names, else ./config.toml.

    The file may be missing. Raise SettingsError for an invalid name.
    """
    named = environ.get(CONFIG_VARIABLE) or str(DEFAULT_FILE)
    if is_quoted(named):
        raise SettingsError(f"{CONFIG_VARIABLE} = {named}: {QUOTED}")
    return at_home(Path(named))


def at_home(path: Path) -> Path:
    """Return the path of a settings file with its ~ replaced. Raise SettingsError if that home does not exist."""
    try:
        return kinds.at_home(path)
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from error


def _file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or environ.get(CONFIG_VARIABLE)
    file = at_home(path) if path else config_file(environ)
    # Not Path.exists, which raises if the working directory cannot be searched.
    return file if named or os.path.exists(file) else None  # noqa: PTH110


def _holds_secrets(source: Source) -> bool:
    return any(
        plain(section, key, value) != value
        for section, content in source.values.items()
        if section in Settings.model_fields
        for key, value in content.items()
        if is_secret(section, key)
    )


class _Sourced(Settings, BaseSettings):
    """The settings of `sources`, the strongest first. A class for each load would take longer than the rest of it."""

    model_config = SettingsConfigDict(case_sensitive=True)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: object, **__: object
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return tuple(InitSettingsSource(settings_cls, source.values) for source in init_settings()["sources"])


def _merged(strongest_first: list[Source]) -> Settings:
    sourced = _Sourced(sources=strongest_first)  # type: ignore[call-arg]
    return Settings(**{section: getattr(sourced, section) for section in Settings.model_fields})
