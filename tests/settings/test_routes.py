"""[[delivery.routes]]: who else reads which errors."""

from collections.abc import Callable

import pytest

from quartblog.delivery import Reader
from quartblog.settings import Settings
from quartblog.settings.masking import shown
from quartblog.settings.options import mail_options, mailing_options

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]

TABLES = """
[[delivery.routes]]
to = ["ops@example.org", "eve@example.org"]
level = "CRITICAL"
[[delivery.routes]]
to = "bob@example.org"
logger = "quartblog.auth"
path = "/user"
"""
READERS = (
    Reader(("ops@example.org", "eve@example.org"), "CRITICAL"),
    Reader(("bob@example.org",), None, "quartblog.auth", "/user"),
)


def test_routes_are_tables_of_the_file(load: Load) -> None:
    assert mailing_options(load(TABLES)).readers == READERS


def test_routes_are_json_in_a_variable(load: Load) -> None:
    text = '[{"to": ["ops@example.org"], "level": "ERROR"}]'

    assert mailing_options(load(QUARTBLOG_DELIVERY__ROUTES=text)).readers == (Reader(("ops@example.org",), "ERROR"),)


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ('{ level = "CRITICAL" }', ': to: must be a list of e-mail addresses such as ["ops@example.org"]'),
        ("{ to = [] }", ': to = []: must name an address, such as to = ["ops@example.org"]'),
        ('{ to = ["ops"] }', ': to = "ops": must be a list of e-mail addresses such as ["ops@example.org"]'),
        ('{ to = "o@example.org", level = "LOUD" }', ': level = "LOUD": must be "ERROR" or "CRITICAL"'),
        ('{ to = "o@example.org", path = "user" }', ': path = "user": must be the beginning of a path such as "/user"'),
        ('{ to = "o@example.org", logger = "" }', ': logger = "": must be one line of 1 to 60 characters'),
        ('{ to = "o@example.org", pathh = "/user" }', ": pathh: unknown key; did you mean path?"),
        ('{ to = "o@example.org", x = 1 }', ": x: unknown key; the keys are to, level, logger, path"),
    ],
)
def test_a_mistake_in_a_route_names_the_route_and_its_key(problems: Problems, route: str, told: str) -> None:
    right = '{ to = ["ops@example.org"] }'

    assert problems(f"[delivery]\nroutes = [{right}, {route}]") == [f"config.toml: [delivery] routes, number 2{told}"]


def test_what_is_no_route_shows_one(problems: Problems) -> None:
    [line] = problems("[delivery]\nroutes = [5]")

    assert line == (
        'config.toml: [delivery] routes = 5: must be a list such as [{ to = ["ops@example.org"], level = "CRITICAL" }],'
        " with to and any of level, logger and path"
    )


def test_a_route_is_shown_as_it_can_be_written(load: Load) -> None:
    routes = load(TABLES).delivery.routes

    assert shown("delivery", "routes", routes) == (
        '[{"to": ["ops@example.org", "eve@example.org"], "level": "CRITICAL"}, '
        '{"to": ["bob@example.org"], "logger": "quartblog.auth", "path": "/user"}]'
    )


def test_every_key_about_mail_reaches_the_delivery(load: Load) -> None:
    keys = {
        "batch_seconds": 1.0,
        "window_seconds": 2.0,
        "mails_per_hour": 3,
        "retry_min": 4.0,
        "retry_max": 5.0,
        "retry_for": 6.0,
    }
    config = "[delivery]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items())
    options = mailing_options(load(config))

    assert {key: getattr(options, key) for key in keys} == keys


def test_a_digest_names_the_command_that_shows_its_groups(load: Load) -> None:
    options = mail_options(load('[mail]\nserver = "localhost"\nadmins = ["ada@example.org"]\n'))

    assert options is not None
    assert options.command == "quartblog"


def test_a_password_in_the_clear_has_to_be_asked_for(load: Load, problems: Problems) -> None:
    config = '[mail]\nserver = "mail.example.org"\nadmins = ["ada@example.org"]\nusername = "ada"\npassword = "x"\n'
    assert "in the clear" in problems(config)[0]

    options = mail_options(load(f"{config}allow_plain_login = true"))

    assert options is not None
    assert options.problem is None
