"""Whatever is wrong with a secret, or with an address that holds one, no message shows it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartblog.errors.exceptions import SettingsError
from quartblog.operations.reload import Watcher
from quartblog.settings import Settings, load_settings, masking
from quartblog.settings.sources import known_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    Problems = Callable[..., list[str]]

CANARY = "canary-password"
SECRETS = [(section, key) for section, key in known_keys() if masking.is_secret(section, key)]
URLS = [
    f"mysql://blog:{CANARY}@localhost/blog",
    f"mysql://localhost/blog?password={CANARY}",
    f"mysql://blog:{CANARY}@and@more@localhost/blog",
    f"postgresql+asyncpg:/blog:{CANARY}@localhost/blog",
    f"postgresql+asyncpg:blog:{CANARY}@localhost/blog",
    f"postgresql+asyncpg//blog:{CANARY}@localhost/blog",
    f"postgresql+asyncpg://blog:{CANARY}",
    f"postgresql+asyncpg://blog:{CANARY}/blog",
    f"postgresql+asyncpg://blog:{CANARY}@localhost:port/blog",
    f"postgresql+asyncpg://blog:{CANARY}@localhost:70000/blog",
    f"postgresql+asyncpg://blog@localhost/blog?sslmode=require&sslpassword={CANARY}",
    f"postgresql+asyncpg://blog:{CANARY}@[::1/blog",
    f"sqlite+aiosqlite://blog:{CANARY}@localhost/blog",
    f"blog:{CANARY}@localhost/blog",
    CANARY,
]


def test_the_secrets_are_known() -> None:
    assert {".".join(key) for key in SECRETS} == {
        "database.url",
        "security.secret_key",
        "security.secret_key_fallbacks",
        "mail.password",
        "forwarding.sentry_dsn",
        "forwarding.otlp_headers",
        "operations.metrics_token",
    }


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("form", ["variable", "file", "list"])
def test_a_refused_database_url_shows_no_password(
    problems: Problems, asyncpg_installed: None, url: str, form: str
) -> None:
    written = json.dumps([url] if form == "list" else url)
    told = problems(QUARTBLOG_DATABASE__URL=url) if form == "variable" else problems(f"[database]\nurl = {written}")

    assert "[database] url" in told[0]
    assert CANARY not in "\n".join(told)
    assert "more" not in "\n".join(told)


@pytest.mark.parametrize(("section", "key"), SECRETS)
@pytest.mark.parametrize("value", [[[CANARY]], {"value": CANARY}, [{"value": CANARY}], [CANARY, 5]])
def test_a_secret_of_another_type_is_not_shown(problems: Problems, section: str, key: str, value: object) -> None:
    written = json.dumps(value).replace('": ', '" = ')

    assert CANARY not in "\n".join(problems(f"[{section}]\n{key} = {written}"))


@pytest.mark.parametrize(
    "config",
    [
        f'[security]\nsecret_key = "{CANARY}"',
        f'[mail]\npasword = "{CANARY}"',
        f'[site]\npassword = "{CANARY}"',
        f'[mial]\npassword = "{CANARY}"',
        f'password = "{CANARY}"',
        f'mail = "{CANARY}"',
        f'[[mail]]\npassword = "{CANARY}"',
        f'[mail.password]\nvalue = "{CANARY}"',
        f'[mail]\npassword = "{CANARY}',
        f"[mail]\npassword = {CANARY}",
        f'[mail]\npassword = "{CANARY}" "{CANARY}"',
        f'[mail]\npassword "{CANARY}"',
        f'[mail]\npassword = "{CANARY}"\npassword = "{CANARY}"',
        f'[mail]\npassword = "{CANARY}\\q"',
        f'[mail]\nserver = "smtp://blog:{CANARY}@localhost"',
        f'[mail]\nserver = "blog:{CANARY}@localhost"',
        f'[mail]\nport = "smtp://blog:{CANARY}@localhost"',
        f'[site]\npublic_url = "https://blog:{CANARY}@blog.example.org"',
        f'[security]\nallowed_hosts = ["https://blog:{CANARY}@blog.example.org"]',
        f'[delivery]\nroutes = "https://blog:{CANARY}@blog.example.org"',
        f'[delivery]\nroutes = [{{ to = ["https://blog:{CANARY}@blog.example.org"] }}]',
        f'[delivery]\nroutes = [{{ to = [], password = "{CANARY}" }}]',
        f'[forwarding]\nsentry_dsn = "ftp://{CANARY}@sentry.example.org/3"',
        f'[forwarding]\notlp_endpoint = "https://blog:{CANARY}@collector.example.org"',
        f'[forwarding]\notlp_endpoint = "https://collector.example.org/?token={CANARY}"',
        f'[forwarding]\notlp_headers = ["Authorization {CANARY}"]',
        f'[forwarding]\notlp_headers = "Authorization: {CANARY}"\nhost = 5',
        f"[mail]\nport = {'9' * 5000}\n[site]\npassword = '{CANARY}'",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(problems: Problems, config: str) -> None:
    assert CANARY not in "\n".join(problems(config))


@pytest.mark.parametrize("name", ["MAIL_PASSWORD", "QUARTBLOG_MAIL__PASSWORD", "QUARTBLOG_MIAL__PASSWORD"])
def test_a_quoted_secret_is_not_shown(problems: Problems, name: str) -> None:
    assert CANARY not in "\n".join(problems(**{name: f'"{CANARY}"'}))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+asyncpg:/ada:{CANARY}@host/db",
        f"ada:{CANARY}@host/db",
        f"postgresql+asyncpg://host/db?x=1;password={CANARY}",
        f"postgresql+asyncpg://host/db?p%61ssword={CANARY}",
        f"postgresql+asyncpg://host/db?a=1&passwd%3D={CANARY}",
    ],
)
@pytest.mark.parametrize(("section", "key"), [("database", "url"), ("database", "pool_size"), ("site", "public_url")])
def test_a_url_shows_no_password_wherever_it_was_written(section: str, key: str, url: str) -> None:
    assert CANARY not in masking.shown(section, key, url)


@given(before=st.text(max_size=8), between=st.text(max_size=3), after=st.text(max_size=12))
def test_no_mistake_in_a_url_shows_its_password(before: str, between: str, after: str) -> None:
    url = f"postgresql+asyncpg:{between}{before}:{CANARY}@{after}"

    assert CANARY not in masking.shown("database", "url", url)


async def test_a_change_that_is_refused_while_the_site_runs_mails_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Path("config.toml")
    watcher = Watcher(config, Settings(), lambda _: None, {})
    for url in URLS:
        await asyncio.to_thread(config.write_text, f'[database]\nurl = "{url}"\n')
        for _ in range(2):
            await watcher.look()

    assert "is invalid" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("place", ["/blog", "blog/x"])
def test_an_address_that_passes_is_shown_without_its_password(place: str) -> None:
    assert masking.shown("database", "url", f"postgresql+asyncpg://{place}:{CANARY}@localhost/blog") == (
        '"postgresql+asyncpg://********@localhost/blog"'
    )


def test_a_refusal_has_no_cause_that_shows_the_value(problems: Problems, tmp_path: Path) -> None:
    Path("config.toml").write_text(f'[database]\nurl = "postgresql+asyncpg://blog:{CANARY}/blog"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {})

    shown = []
    error: BaseException | None = caught.value
    while error is not None:
        shown.append(str(error))
        error = error.__context__
    assert CANARY not in "\n".join(shown)
