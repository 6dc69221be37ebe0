"""The forms in which people write settings: quotes that stay, a byte order mark, a ~, a host in capitals."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from quartblog.cli import main
from quartblog.errors.exceptions import SettingsError
from quartblog.settings import load_outbox, load_settings
from quartblog.settings.sources import known_keys, variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from quartblog.settings import Settings

    Load = Callable[..., Settings]
    Problems = Callable[..., list[str]]

ORIGINAL = ["MAIL_SERVER", "MAIL_PORT", "MAIL_USE_TLS", "MAIL_USERNAME", "MAIL_PASSWORD", "MAIL_ADMINS"]
QUOTED = "the value includes its quotes; remove them"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's home folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_variable_with_the_quotes_of_an_env_file_is_refused_for_them(problems: Problems, quote: str) -> None:
    names = [*(variable(section, key) for section, key in known_keys()), *ORIGINAL]
    for name, value in product(names, ("127.0.0.1", "25", "true", "a, b", "", '["a@example.org"]')):
        found = problems(**{name: f"{quote}{value}{quote}"})

        assert len(found) == 1, f"{name}: {value}"
        assert found[0].startswith(f"{name}: ["), value
        assert QUOTED in found[0], f"{name}: {value}"


def test_quotes_inside_a_value_are_its_own(load: Load) -> None:
    settings = load(
        '[mail]\npassword = "\\"secret\\""',
        QUARTBLOG_MAIL__ADMINS='["a@example.org"]',
        QUARTBLOG_SITE__NAME='The "Blog"',
    )

    assert settings.mail.password.get_secret_value() == '"secret"'
    assert settings.site.name == 'The "Blog"'
    assert settings.mail.admins == ("a@example.org",)


def test_the_quoted_name_of_a_settings_file_is_refused_for_the_quotes() -> None:
    with pytest.raises(SettingsError, match=f"^QUARTBLOG_CONFIG = .*{QUOTED}"):
        load_settings(None, {"QUARTBLOG_CONFIG": '"config.toml"'})


def test_a_quoted_outbox_is_not_taken_for_the_default(load: Load) -> None:
    load()
    assert load_outbox(environ={"MAIL_PORT": '"25"'}) == Path("instance/outbox.sqlite3")
    with pytest.raises(SettingsError, match=QUOTED):
        load_outbox(environ={"QUARTBLOG_DELIVERY__OUTBOX": '"outbox.sqlite3"'})


def test_a_byte_order_mark_is_no_part_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b'\xef\xbb\xbf[site]\nname = "x"\n')

    assert load_settings(path, {}).site.name == "x"


def test_a_tilde_is_the_home_folder_in_every_path(load: Load, home: Path) -> None:
    for settings in (
        load(
            '[logging]\ndirectory = "~/logs"\n[delivery]\noutbox = "~/outbox"\n[database]\nurl = "sqlite+aiosqlite:///~/b"'
        ),
        load(
            QUARTBLOG_LOGGING__DIRECTORY="~/logs",
            QUARTBLOG_DELIVERY__OUTBOX="~/outbox",
            QUARTBLOG_DATABASE__URL="sqlite+aiosqlite:///~/b",
        ),
    ):
        assert settings.logging.directory == home / "logs"
        assert settings.delivery.outbox == home / "outbox"
        assert settings.database.url.get_secret_value() == f"sqlite+aiosqlite:///{home}/b"


def test_a_tilde_is_the_home_folder_in_the_name_of_the_settings_file(home: Path) -> None:
    (home / "own.toml").write_text('[site]\nname = "own"')

    assert load_settings(Path("~/own.toml"), {}).site.name == "own"
    assert load_settings(None, {"QUARTBLOG_CONFIG": "~/own.toml"}).site.name == "own"
    result = CliRunner().invoke(main, ["--config", "~/own.toml", "config", "check"])
    assert '"own"' in result.stdout
    assert f"Settings file: {home}/own.toml" in result.stdout


def test_the_home_of_nobody_is_refused(problems: Problems) -> None:
    (problem,) = problems('[logging]\ndirectory = "~nobody-of-this-name/logs"')

    assert problem.startswith('config.toml: [logging] directory = "~nobody-of-this-name/logs": starts with ~, but that')


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HTTPS://Blog.Example.org/", "https://blog.example.org"),
        ("https://blog.example.org:", "https://blog.example.org"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://博客.example", "https://xn--9krq6q.example"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
    ],
)
def test_a_public_address_is_brought_into_one_form(load: Load, written: str, meant: str) -> None:
    settings = load(QUARTBLOG_SITE__PUBLIC_URL=written)

    assert settings.site.public_url == meant
    assert settings.secure_cookies


def test_a_host_is_kept_as_a_browser_names_it(load: Load) -> None:
    hosts = "blog.example.org:8000, 博客.example, ::1, 192.0.2.7"

    assert load(QUARTBLOG_SECURITY__ALLOWED_HOSTS=hosts).security.allowed_hosts == (
        "blog.example.org",
        "xn--9krq6q.example",
        "[::1]",
        "192.0.2.7",
    )


@pytest.mark.parametrize(
    ("written", "meant"), [("[::1]", "::1"), ("::1", "::1"), ("mail_server", "mail_server"), ("", "")]
)
def test_a_mail_server_is_named_as_it_is_looked_up(load: Load, written: str, meant: str) -> None:
    assert load(f'[mail]\nserver = "{written}"\nadmins = ["a@example.org"]').mail.server == meant


def test_a_variable_in_utf_8_is_read_where_python_takes_it_for_raw_bytes(load: Load) -> None:
    raw = "微博".encode().decode("ascii", "surrogateescape")
    if os.fsencode(raw) != "微博".encode():
        pytest.skip("this machine names its files in another way")

    assert load(QUARTBLOG_SITE__NAME=raw).site.name == "微博"


def test_a_variable_that_is_not_utf_8_is_refused(problems: Problems) -> None:
    (problem,) = problems(QUARTBLOG_SITE__NAME="caf\udce9")

    assert problem.startswith("QUARTBLOG_SITE__NAME: [site] name = ")
