"""What an operator reads when the settings cannot be used."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from quartblog.settings import Settings

Problems = Callable[..., list[str]]

CANARY = "canary-password"


def test_every_problem_is_listed_with_key_value_origin_and_what_is_allowed(problems: Problems) -> None:
    config = """
    [logging]
    level = "LOUD"
    max_bytes = 5
    backup_count = "many"
    [delivery]
    mails_per_hour = 0
    """

    assert problems(config, QUARTBLOG_DATABASE__POOL_SIZE="0", QUARTBLOG_SITE__REGISTRATION="perhaps") == [
        'QUARTBLOG_SITE__REGISTRATION: [site] registration = "perhaps": must be true or false',
        'QUARTBLOG_DATABASE__POOL_SIZE: [database] pool_size = "0": must be a whole number from 1 to 100',
        "config.toml: [logging] max_bytes = 5: must be a whole number of at least 1024",
        'config.toml: [logging] backup_count = "many": must be a whole number from 0 to 1000',
        'config.toml: [logging] level = "LOUD": must be "DEBUG", "INFO", "WARNING", "ERROR" or "CRITICAL"',
        "config.toml: [delivery] mails_per_hour = 0: must be a whole number from 1 to 1000000",
    ]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ('[mail]\nservr = "x"', "config.toml: [mail] servr: unknown key; did you mean server?"),
        ('[mail]\npublic_url = "x"', "config.toml: [mail] public_url: unknown key; it belongs in [site]"),
        ("[errors]\nzzz = 1", "config.toml: [errors] zzz: unknown key; [errors] has rehearsal_route"),
        ("[databse]\nurl = 'x'", "config.toml: [databse]: unknown section; did you mean [database]?"),
        ("[Mail]\nport = 26", "config.toml: [Mail]: unknown section; did you mean [mail]?"),
        ("[databse]", "[databse]: unknown section; did you mean [database]?"),
        ("port = 25", "config.toml: port: unknown key outside of any section; it belongs in [mail]"),
        ("zzz = 1", "config.toml: zzz: unknown key outside of any section; every key belongs in a section"),
        ("mail = 25", "config.toml: [mail]: must be a section with keys below it"),
    ],
)
def test_an_unknown_key_is_answered_with_the_one_that_was_meant(problems: Problems, config: str, problem: str) -> None:
    assert problems(config) == [problem]


def test_an_outbox_without_a_name_is_no_file(problems: Problems) -> None:
    assert problems('[delivery]\noutbox = ""') == [
        'config.toml: [delivery] outbox = "": must be the path of a file',
    ]


def test_a_section_like_no_other_is_answered_with_all_of_them(problems: Problems) -> None:
    assert problems("[zzz]\na = 1") == [
        (
            "config.toml: [zzz]: unknown section; the sections are "
            "[site], [database], [security], [mail], [logging], [delivery], [forwarding], [operations], [errors]"
        )
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("QUARTBLOG_MAIL__SERVR", "QUARTBLOG_MAIL__SERVR: [mail] servr: unknown key; did you mean server?"),
        ("QUARTBLOG_MIAL__PORT", "QUARTBLOG_MIAL__PORT: [mial]: unknown section; did you mean [mail]?"),
        ("QUARTBLOG_MAIL_PORT", "QUARTBLOG_MAIL_PORT: unknown variable; did you mean QUARTBLOG_MAIL__PORT?"),
        ("MAIL_USE_TLS", "MAIL_USE_TLS = 'tls13': must be true (for starttls) or false"),
    ],
)
def test_a_variable_that_is_not_understood_is_named(problems: Problems, name: str, problem: str) -> None:
    assert problems(**{name: "tls13"}) == [problem]


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("SITE__NAME", "two\nlines", "one line of 1 to 60 characters"),
        ("SITE__NAME", "  ", "one line of 1 to 60 characters"),
        ("SITE__NAME", "\x1b[31mred", "one line of 1 to 60 characters"),
        ("SITE__NAME", "\u200b\u2800\u3164", "one line of 1 to 60 characters"),
        ("SITE__NAME", "blog\u202e", "one line of 1 to 60 characters"),
        ("SITE__PUBLIC_URL", "https://*.example.org", "http:// or https:// with a host"),
        ("SITE__PUBLIC_URL", "https://a..b", "http:// or https:// with a host"),
        ("DATABASE__URL", "sqlite+aiosqlite://instance/blog.sqlite3", "sqlite+aiosqlite:///FOLDER/FILE"),
        ("OPERATIONS__SUMMARY", "mondy 8", 'a weekday and a time in UTC such as "monday 08:00", or "" for none'),
        ("OPERATIONS__SUMMARY", "monday 24:00", 'a weekday and a time in UTC such as "monday 08:00"'),
        ("DATABASE__POOL_TIMEOUT", "1e300", "a number of seconds above 0 and at most 1000000000"),
        ("SECURITY__ALLOWED_HOSTS", "*.example.org", "a list of host names"),
        ("SECURITY__ALLOWED_HOSTS", ".example.org", "a list of host names"),
        ("SECURITY__ALLOWED_HOSTS", "*", "a list of host names"),
        ("MAIL__SERVER", "smtp.example.org:587", "a host name or address without scheme, port and path"),
        ("MAIL__SERVER", "smtp.\u2028example.org", "a host name or address without scheme, port and path"),
        ("MAIL__ADMINS", "a:b@example.org", "a list of e-mail addresses"),
        ("MAIL__ADMINS", 'a"@example.org', "a list of e-mail addresses"),
        ("MAIL__ADMINS", "a\u200b@example.org", "a list of e-mail addresses"),
        ("SITE__PUBLIC_URL", "https://blog.example.org/path", "http:// or https:// with a host"),
        ("SITE__PUBLIC_URL", "https://user@blog.example.org", "http:// or https:// with a host"),
        ("SITE__PUBLIC_URL", "https://blog.example.org:99999", "http:// or https:// with a host"),
        ("SITE__PUBLIC_URL", "https://", "http:// or https:// with a host"),
        ("SITE__PUBLIC_URL", "ftp://blog.example.org", "http:// or https:// with a host"),
        ("DATABASE__POOL_TIMEOUT", "0", "a number of seconds above 0"),
        ("DATABASE__POOL_TIMEOUT", "nan", "a number of seconds above 0"),
        ("DATABASE__POOL_TIMEOUT", "inf", "a number of seconds above 0"),
        ("DATABASE__URL", "mysql://localhost/blog", "sqlite+aiosqlite:///FOLDER/FILE or postgresql+asyncpg://"),
        ("DATABASE__URL", "no address", "sqlite+aiosqlite:///FOLDER/FILE or postgresql+asyncpg://"),
        ("SECURITY__COOKIE_SECURE", "sometimes", 'true, false or "auto"'),
        ("SECURITY__ALLOWED_HOSTS", "https://blog.example.org", "a list of host names"),
        ("SECURITY__ALLOWED_HOSTS", "[1", "a list of host names"),
        ("MAIL__SERVER", "smtp://example.org", "a host name or address"),
        ("MAIL__ADMINS", "ops", "a list of e-mail addresses"),
        ("MAIL__ADMINS", '{"a": 1}', "a list of e-mail addresses"),
        ("MAIL__SENDER", "blog", "an e-mail address such as"),
        ("LOGGING__FILENAME", "../microblog.log", "the name of a file, without a folder"),
        ("LOGGING__FILENAME", "..", "the name of a file, without a folder"),
        ("OPERATIONS__METRICS_TOKEN", "15-characters-x", "at least 16 printable ASCII characters"),
        ("OPERATIONS__METRICS_TOKEN", "16 characters, but spaces", "at least 16 printable ASCII characters"),
        ("OPERATIONS__METRICS_TOKEN", "sechzehn-Zeichen-und-ein-\u00fc", "at least 16 printable ASCII characters"),
        ("DELIVERY__RESERVE", "1", "a number from 0 up to, but not including, 1"),
    ],
)
def test_a_value_of_the_wrong_kind_is_answered_with_what_is_allowed(
    problems: Problems, key: str, value: str, allowed: str
) -> None:
    (problem,) = problems(**{f"QUARTBLOG_{key}": value})

    assert problem.startswith(f"QUARTBLOG_{key}: [")
    assert f": must be {allowed}" in problem


@pytest.mark.parametrize(
    ("config", "allowed"),
    [
        ("[mail]\nport = true", "a whole number from 1 to 65535"),
        ("[mail]\ntimeout = true", "a number of seconds above 0 and at most 1000000000"),
        ("[mail]\nusername = 5", "text"),
        ("[logging]\ndirectory = 5", "a path"),
    ],
)
def test_a_value_of_another_toml_type_is_refused(problems: Problems, config: str, allowed: str) -> None:
    (problem,) = problems(config)

    assert problem.endswith(f"must be {allowed}")


def test_an_error_of_settings_built_by_hand_shows_no_secret() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"security": {"secret_key": CANARY}})

    assert CANARY not in str(caught.value)


def test_a_mail_server_needs_somebody_to_write_to(problems: Problems) -> None:
    assert problems(MAIL_SERVER="smtp.example.org") == [
        (
            'MAIL_SERVER: [mail] admins = [] by default: must name an address, such as ["ops@example.org"],'
            " because [mail] server is set"
        )
    ]


def test_a_password_in_the_clear_to_another_host_is_refused(problems: Problems) -> None:
    (problem,) = problems(MAIL_SERVER="smtp.example.org", MAIL_USERNAME="blog", MAIL_ADMINS="ops@example.org")

    assert problem.startswith('MAIL_USERNAME: [mail] username = "blog": would send the password to smtp.example.org')
    assert 'set tls = "starttls"' in problem


@pytest.mark.parametrize("server", ["localhost", "127.0.0.1", "::1", "LOCALHOST."])
def test_a_password_in_the_clear_may_stay_on_the_machine(load: Callable[..., Settings], server: str) -> None:
    mail = load(MAIL_SERVER=server, MAIL_USERNAME="blog", MAIL_ADMINS="ops@example.org").mail

    assert (mail.server, mail.username, mail.tls) == (server, "blog", "none")


def test_the_longest_wait_is_not_below_the_shortest(problems: Problems) -> None:
    assert problems("[delivery]\nretry_min = 10\nretry_max = 9.5") == [
        "config.toml: [delivery] retry_max = 9.5: must not be below [delivery] retry_min, which is 10"
    ]


def test_a_key_at_odds_with_a_default_names_who_set_it(problems: Problems) -> None:
    assert problems("[delivery]\nretry_min = 400") == [
        "config.toml: [delivery] retry_max = 300.0 by default: must not be below [delivery] retry_min, which is 400"
    ]


def test_postgresql_without_its_library_says_what_to_install(problems: Problems, asyncpg_missing: None) -> None:
    (problem,) = problems(QUARTBLOG_DATABASE__URL="postgresql+asyncpg://localhost/blog")

    assert 'pip install "quartblog[postgres]"' in problem


def test_postgresql_with_its_library_is_accepted(load: Callable[..., Settings], asyncpg_installed: None) -> None:
    url = "postgresql+asyncpg://blog:pw@localhost/blog"

    assert load(QUARTBLOG_DATABASE__URL=url).database.url.get_secret_value() == url
