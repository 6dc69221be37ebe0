"""[forwarding]: what leads to another system, and what is refused before an error could get lost on its way there."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from quartblog.errors.exceptions import SettingsError
from quartblog.settings import Settings, load_settings
from quartblog.settings.load import load as load_all
from quartblog.settings.options import forwarding_options
from quartblog.settings.report import entries, warnings

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]
DSN = "https://0123abcd@sentry.example.org/3"


def test_nothing_is_forwarded_by_default(load: Load) -> None:
    options = forwarding_options(load(), "1.0")

    assert (options.sentry_dsn, options.otlp_endpoint, options.host) == ("", "", "")


@pytest.mark.parametrize(
    ("variable", "value", "extra"),
    [("SENTRY_DSN", DSN, "sentry"), ("OTLP_ENDPOINT", "http://127.0.0.1:4318", "otlp")],
)
def test_a_missing_library_stops_the_start_and_says_what_to_install(
    problems: Problems, libraries_missing: None, variable: str, value: str, extra: str
) -> None:
    [problem] = problems(**{f"QUARTBLOG_FORWARDING__{variable}": value})

    assert f"[forwarding] {variable.lower()}" in problem
    assert f'pip install "quartblog[{extra}]"' in problem


@pytest.mark.parametrize("extra", ["sentry", "otlp", "postgres"])
def test_an_extra_that_a_message_names_exists(extra: str) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))

    assert extra in project["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    "dsn",
    [
        "sentry.example.org",
        "https://sentry.example.org/3",
        "https://key@sentry.example.org",
        "https://key@sentry.example.org/",
        "https://key@/3",
        "ftp://key@sentry.example.org/3",
        "https://key@sentry.example.org:0/3",
        "https://key@sentry.example.org:port/3",
        "https://key@sentry.example.org/3?x=1",
        "https://key@sentry example.org/3",
        "https://key@[::1/3",
    ],
)
def test_a_dsn_that_leads_nowhere_is_refused(problems: Problems, libraries_installed: None, dsn: str) -> None:
    [problem] = problems(QUARTBLOG_FORWARDING__SENTRY_DSN=dsn)

    assert "must be the DSN of a project such as https://KEY@sentry.example.org/3" in problem
    assert "key@" not in problem


@pytest.mark.parametrize(
    "dsn", [DSN, "http://key:old-secret@127.0.0.1:9000/1", "https://key@errors.example.org/behind/a/path/17"]
)
def test_a_dsn_is_accepted_in_each_form_that_servers_show(load: Load, libraries_installed: None, dsn: str) -> None:
    assert forwarding_options(load(QUARTBLOG_FORWARDING__SENTRY_DSN=dsn), "1.0").sentry_dsn == dsn


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/logs"),
        ("https://otlp.example.org/tenant/v1/logs", "https://otlp.example.org/tenant/v1/logs"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/logs"),
    ],
)
def test_a_collector_without_a_path_gets_that_of_the_standard(
    load: Load, libraries_installed: None, written: str, used: str
) -> None:
    assert forwarding_options(load(QUARTBLOG_FORWARDING__OTLP_ENDPOINT=written), "1.0").otlp_endpoint == used


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://a b", "http://a:0", "http://h/?k=1"]
)
def test_a_collector_that_cannot_be_is_refused(problems: Problems, libraries_installed: None, endpoint: str) -> None:
    [problem] = problems(QUARTBLOG_FORWARDING__OTLP_ENDPOINT=endpoint)

    assert "must be http:// or https:// with a host" in problem


def test_headers_are_read_from_a_list_and_from_a_variable(load: Load) -> None:
    written = load('[forwarding]\notlp_headers = ["Authorization: Bearer a, b", "X-Tenant:7"]')
    given = load(QUARTBLOG_FORWARDING__OTLP_HEADERS="X-Tenant: 7, X-Scope: blog")

    assert forwarding_options(written, "1.0").otlp_headers == {"Authorization": "Bearer a, b", "X-Tenant": "7"}
    assert forwarding_options(given, "1.0").otlp_headers == {"X-Tenant": "7", "X-Scope": "blog"}


@pytest.mark.parametrize("header", ["Authorization", ": x", "a b: c", "X: ", "X: a\\r\\nY: b", "X: ä"])
def test_a_header_that_http_has_not_is_refused(problems: Problems, header: str) -> None:
    [problem] = problems(f'[forwarding]\notlp_headers = ["{header}"]')

    assert "must be a list of headers such as" in problem


def test_config_check_masks_what_is_secret(tmp_path: Path, libraries_installed: None) -> None:
    (tmp_path / "config.toml").write_text(
        f'[forwarding]\nsentry_dsn = "{DSN}"\notlp_headers = ["X-Token: canary"]\nhost = "blog-2"\n'
    )
    shown = {each.key: each.shown for each in entries(load_all(tmp_path / "config.toml", {}))}

    assert shown["sentry_dsn"] == '"********"'
    assert shown["otlp_headers"] == '["********"]'
    assert shown["host"] == '"blog-2"'


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        (
            {"SENTRY_DSN": DSN.replace("https", "http")},
            "[forwarding] sentry_dsn: without https:// error records",
        ),
        ({"OTLP_ENDPOINT": "http://collector.example.org"}, "[forwarding] otlp_endpoint: without https://"),
        ({"OTLP_HEADERS": "X-Token: 1"}, "[forwarding] otlp_headers: unused"),
    ],
)
def test_what_is_probably_a_mistake_is_warned_about(
    libraries_installed: None, environ: dict[str, str], warning: str
) -> None:
    settings = load_settings(None, {f"QUARTBLOG_FORWARDING__{name}": value for name, value in environ.items()})

    assert [line for line in warnings(settings) if line.startswith(warning)]


def test_forwarding_without_redaction_is_warned_about(libraries_installed: None) -> None:
    settings = load_settings(None, {"QUARTBLOG_FORWARDING__SENTRY_DSN": DSN, "QUARTBLOG_DELIVERY__REDACT": "false"})

    assert "[forwarding] sentry_dsn: with [delivery] redact = false it gets what visitors sent" in warnings(settings)


def test_a_name_of_the_host_is_one_line() -> None:
    with pytest.raises(SettingsError):
        load_settings(None, {"QUARTBLOG_FORWARDING__HOST": "a\nb"})
