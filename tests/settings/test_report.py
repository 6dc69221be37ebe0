"""What `config check` shows: every value with its origin, no secret, and what is probably not meant."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quartblog.settings import Settings, load_settings
from quartblog.settings.load import load as load_with_origins
from quartblog.settings.report import Entry, entries, obstacles, warnings
from quartblog.settings.sources import known_keys

Load = Callable[..., Settings]

CANARY = "canary-password-of-32-characters"

QUIET = {"MAIL_SERVER": "localhost", "MAIL_ADMINS": "ops@example.org"}
"""Enough to have nothing warned about."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asyncpg_installed: None) -> None:
    monkeypatch.chdir(tmp_path)


def entry(environ: dict[str, str], section: str, key: str) -> Entry:
    return next(e for e in entries(load_with_origins(None, environ)) if (e.section, e.key) == (section, key))


def told(**environ: str) -> list[str]:
    return list(warnings(load_settings(None, QUIET | environ)))


def test_every_key_is_reported_with_its_origin() -> None:
    found = entries(load_with_origins(None, {"QUARTBLOG_SITE__NAME": "博客"}))

    assert [(e.section, e.key) for e in found] == known_keys()
    assert found[0] == Entry("site", "name", "博客", '"博客"', "QUARTBLOG_SITE__NAME", changed=True)
    assert found[1] == Entry(
        "site", "public_url", "http://127.0.0.1:5000", '"http://127.0.0.1:5000"', "default", changed=False
    )


def test_a_value_is_changed_where_it_differs_from_the_default_wherever_it_came_from() -> None:
    environ = {"MAIL_SERVER": "localhost", "MAIL_ADMINS": "ops@example.org", "QUARTBLOG_MAIL__TIMEOUT": "20"}
    environ["QUARTBLOG_SECURITY__SECRET_KEY"] = CANARY

    changed = {(e.section, e.key) for e in entries(load_with_origins(None, environ)) if e.changed}

    # The timeout is the default, and the sender follows from the admins.
    assert changed == {("mail", "server"), ("mail", "admins"), ("security", "secret_key")}


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("SECURITY__SECRET_KEY", CANARY, '"********"'),
        ("SECURITY__SECRET_KEY_FALLBACKS", f"{CANARY},{CANARY}", '["********", "********"]'),
        ("MAIL__PASSWORD", CANARY, '"********"'),
        ("MAIL__PASSWORD", "", '""'),
        ("OPERATIONS__METRICS_TOKEN", CANARY, '"********"'),
        ("OPERATIONS__METRICS_TOKEN", "", '""'),
        (
            "DATABASE__URL",
            f"postgresql+asyncpg://blog:{CANARY}@db/blog?password={CANARY}&ssl=require",
            '"postgresql+asyncpg://blog:********@db/blog?password=********&ssl=require"',
        ),
        ("DATABASE__URL", "sqlite+aiosqlite:///blog.sqlite3", '"sqlite+aiosqlite:///blog.sqlite3"'),
        ("SECURITY__COOKIE_SECURE", "auto", '"auto"'),
        ("LOGGING__DIRECTORY", "/var/log/blog", '"/var/log/blog"'),
        ("MAIL__ADMINS", "a@example.org,b@example.org", '["a@example.org", "b@example.org"]'),
    ],
)
def test_a_value_is_shown_as_the_file_would_say_it_with_secrets_masked(key: str, value: str, shown: str) -> None:
    section, _, name = key.lower().partition("__")

    found = entry({f"QUARTBLOG_{key}": value}, section, name)

    assert found.shown == shown
    assert CANARY not in str(found.value)


def test_a_kept_secret_key_is_reported_as_such() -> None:
    found = entry({}, "security", "secret_key")

    assert (found.shown, found.origin) == ('"********"', "instance/secret_key, created at the first start")


def test_settings_that_make_sense_are_not_warned_about() -> None:
    assert told() == []
    assert told(QUARTBLOG_SITE__PUBLIC_URL="https://blog.example.org") == []


def test_looking_writes_nothing(tmp_path: Path) -> None:
    told()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        ({"MAIL_SERVER": "", "QUARTBLOG_MAIL__SERVER": ""}, "[mail] server: not set"),
        ({"QUARTBLOG_LOGGING__DIRECTORY": "file/logs"}, "[logging] directory: file is not a folder"),
        ({"QUARTBLOG_DELIVERY__OUTBOX": "file/outbox"}, "[delivery] outbox: file is not a folder: error counts and"),
        (
            {"QUARTBLOG_LOGGING__FILENAME": "folder", "QUARTBLOG_LOGGING__DIRECTORY": ""},
            "[logging] filename: folder is",
        ),
        ({"QUARTBLOG_DELIVERY__OUTBOX": "folder"}, "[delivery] outbox: folder is a folder: error counts and"),
        (
            {"QUARTBLOG_SITE__PUBLIC_URL": "http://blog.example.org"},
            "[site] public_url: without https:// browsers send passwords",
        ),
        ({"QUARTBLOG_SECURITY__COOKIE_SECURE": "true"}, "[security] cookie_secure: browsers send Secure cookies"),
        ({"MAIL_PORT": "465"}, '[mail] port: 465 with tls = "none"'),
        ({"QUARTBLOG_MAIL__TLS": "implicit"}, '[mail] port: 25 with tls = "implicit"'),
    ],
)
def test_what_is_probably_not_meant_is_warned_about(environ: dict[str, str], warning: str) -> None:
    Path("file").touch()
    Path("folder/x").mkdir(parents=True)

    (found,) = told(**environ)

    assert found.startswith(warning)


@pytest.mark.parametrize(
    ("environ", "obstacle"),
    [
        ({"QUARTBLOG_DATABASE__URL": "sqlite+aiosqlite:///file/blog.sqlite3"}, "[database] url: file is not a folder"),
        ({"QUARTBLOG_DATABASE__URL": "sqlite+aiosqlite:///folder"}, "[database] url: folder is a folder"),
        ({"QUARTBLOG_DATABASE__URL": "postgresql+asyncpg://localhost/blog"}, None),
        ({}, None),
    ],
)
def test_what_would_stop_the_start_is_told_before(environ: dict[str, str], obstacle: str | None) -> None:
    Path("file").touch()
    Path("folder").mkdir()

    assert list(obstacles(load_settings(None, QUIET | environ))) == ([obstacle] if obstacle else [])
    assert sorted(path.name for path in Path().iterdir()) == ["file", "folder"]


def test_an_instance_folder_that_cannot_hold_the_secret_would_stop_the_start() -> None:
    Path("instance").touch()
    environ = {"QUARTBLOG_DATABASE__URL": "sqlite+aiosqlite:///blog.sqlite3"}

    assert list(obstacles(load_settings(None, environ))) == [
        "[security] secret_key: not set, and instance is not a folder"
    ]
    assert list(obstacles(load_settings(None, environ | {"QUARTBLOG_SECURITY__SECRET_KEY": CANARY}))) == []


def test_a_kept_secret_that_is_none_would_stop_the_start() -> None:
    Path("instance").mkdir()
    Path("instance/secret_key").touch(0o600)

    (found,) = obstacles(load_settings(None, {}))

    assert found.startswith("instance/secret_key: holds no valid key")


def test_a_secret_key_that_others_can_read_is_warned_about() -> None:
    Path("instance").mkdir()
    Path("instance/secret_key").touch(0o644)

    assert told() == ["instance/secret_key: other users of this machine can read it: chmod 600 instance/secret_key"]
    assert told(QUARTBLOG_SECURITY__SECRET_KEY=CANARY) == []


def test_a_log_folder_without_the_right_to_write_is_warned_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The superuser may write everywhere, and the tests may run as the superuser.
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK or Path(path).name != "logs")
    Path("logs").mkdir()

    assert told() == [f"[logging] directory: {tmp_path / 'logs'} is not writable: the site will write no log file"]


def test_other_databases_are_not_looked_for_on_this_disk() -> None:
    assert told(QUARTBLOG_DATABASE__URL="postgresql+asyncpg://localhost/blog") == []
