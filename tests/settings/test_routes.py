"""[[delivery.routes]]: who else reads which errors."""

from collections.abc import Callable

import pytest

from quartblog.app import mail_options, mailing_options
from quartblog.delivery import Route
from quartblog.settings import Settings
from quartblog.settings.masking import shown

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
ROUTES = (
    Route(("ops@example.org", "eve@example.org"), "CRITICAL"),
    Route(("bob@example.org",), None, "quartblog.auth", "/user"),
)


def test_routes_are_tables_of_the_file(load: Load) -> None:
    assert mailing_options(load(TABLES)).routes == ROUTES


def test_routes_are_json_in_a_variable(load: Load) -> None:
    text = '[{"to": ["ops@example.org"], "level": "ERROR"}]'

    assert mailing_options(load(QUARTBLOG_DELIVERY__ROUTES=text)).routes == (Route(("ops@example.org",), "ERROR"),)


@pytest.mark.parametrize(
    "route",
    [
        '{ level = "CRITICAL" }',
        '{ to = ["ops"] }',
        '{ to = ["ops@example.org"], level = "LOUD" }',
        '{ to = ["ops@example.org"], path = "user" }',
        '{ to = ["ops@example.org"], pathh = "/user" }',
        "5",
    ],
)
def test_a_route_that_leads_nowhere_stops_the_start_and_shows_a_right_one(problems: Problems, route: str) -> None:
    [line] = problems(f"[delivery]\nroutes = [{route}]")

    assert line.startswith("config.toml: [delivery] routes = ")
    assert 'must be a list such as [{ to = ["ops@example.org"], level = "CRITICAL" }]' in line


def test_a_route_to_nobody_stops_the_start(problems: Problems) -> None:
    assert problems("[delivery]\nroutes = [{ to = [] }]") == [
        'config.toml: [delivery] routes = []: must each lead to somebody, as in to = ["ops@example.org"]'
    ]


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
