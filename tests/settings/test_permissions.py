"""Files that other users of the machine can read, and better could not."""

from pathlib import Path

import pytest

from quartblog.settings.load import load
from quartblog.settings.permissions import warnings

SECRET = '[mail]\npassword = "x"\n'
OPEN = "and other users of this machine can read it: chmod o-rwx"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def told(config: str = "", mode: int = 0o644, **environ: str) -> list[str]:
    Path("config.toml").write_text(config)
    Path("config.toml").chmod(mode)
    return list(warnings(load(None, environ)))


@pytest.mark.parametrize(
    "config",
    [
        SECRET,
        '[security]\nsecret_key = "a key of 32 characters and some more"\n',
        '[security]\nsecret_key_fallbacks = ["a key of 32 characters and some more"]\n',
    ],
)
def test_a_settings_file_with_a_secret_that_others_can_read_is_told(config: str) -> None:
    assert told(config) == [f"config.toml: holds a secret, {OPEN} config.toml"]
    assert told(config, 0o666) == told(config, 0o604) == told(config)
    assert told(config, 0o600) == told(config, 0o640) == []


def test_a_password_in_the_databases_url_is_a_secret_and_the_url_itself_is_none(asyncpg_installed: None) -> None:
    assert told('[database]\nurl = "postgresql+asyncpg://blog:x@localhost/blog"\n') != []
    assert told('[database]\nurl = "postgresql+asyncpg://blog@localhost/blog"\n') == []


def test_a_secret_that_a_variable_overrides_is_still_in_the_file() -> None:
    assert told(SECRET, QUARTBLOG_MAIL__PASSWORD="y") != []


def test_a_settings_file_without_a_secret_may_be_read_by_all() -> None:
    assert told('[mail]\npassword = ""\n[site]\nname = "x"\n') == []
    assert told(QUARTBLOG_MAIL__PASSWORD="y") == []


def test_a_database_that_others_can_read_is_told() -> None:
    Path("blog.sqlite3").touch(0o600)
    Path("blog.sqlite3-wal").touch(0o600)
    config = '[database]\nurl = "sqlite+aiosqlite:///blog.sqlite3"\n'
    assert told(config) == []

    Path("blog.sqlite3").chmod(0o644)

    assert told(config) == [f"blog.sqlite3: holds addresses, {OPEN} blog.sqlite3"]
