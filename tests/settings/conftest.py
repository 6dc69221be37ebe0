"""Settings that come from a folder and an environment of the test's own."""

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from quartblog.errors.exceptions import SettingsError
from quartblog.settings import Settings, kinds, load_settings

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write config.toml, go where it is, and load it together with the variables given by name."""
    monkeypatch.chdir(tmp_path)

    def load(config: str = "", **environ: str) -> Settings:
        Path("config.toml").write_text(config, "utf-8")
        return load_settings(None, environ)

    return load


@pytest.fixture
def problems(load: Load) -> Callable[..., list[str]]:
    """The lines of the SettingsError that loading raises."""

    def problems(config: str = "", **environ: str) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            load(config, **environ)
        return str(caught.value).splitlines()

    return problems


@pytest.fixture
def asyncpg_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests run without the extra `postgres` too."""
    monkeypatch.setattr(kinds, "find_spec", lambda name: ModuleSpec(name, None))


@pytest.fixture
def asyncpg_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests run with the extra `postgres` too."""
    monkeypatch.setattr(kinds, "find_spec", lambda _name: None)


@pytest.fixture
def libraries_installed(asyncpg_installed: None) -> None:
    """The tests run without the extras `sentry` and `otlp` too."""


@pytest.fixture
def libraries_missing(asyncpg_missing: None) -> None:
    """The tests run with the extras `sentry` and `otlp` too."""
