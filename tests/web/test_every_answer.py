"""Over the route map: every answer has its headers, a 5xx has an id and one record, and nothing else has any."""

from itertools import product
from typing import NoReturn

import pytest
from quart import Quart
from werkzeug.routing import Rule

from quartblog.models import User
from quartblog.web.headers import SECURITY_HEADERS
from quartblog.web.origin import from_anywhere
from tests.support.browsing import Configuration, Page, SignIn, Visitor
from tests.support.log_file import LogFile

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
UNKNOWN = ("/nowhere", "//user//edit", "/user/info/", "/static/", "/static/nothing.css", "/static/../app.py", "/%00")
SHOWN = {"username": "ada", "filename": "quartblog.css", "below": "some/where", "group_id": "1"}


@pytest.fixture
def configuration(configuration: Configuration) -> Configuration:
    """With a log file that is not rotated within a test."""
    return configuration | {"logging": configuration["logging"] | {"max_bytes": 10_000_000}}


@pytest.fixture(params=["anonymous", "signed in"])
async def anybody(request: pytest.FixtureRequest, visitor: Visitor, ada: User, sign_in: SignIn) -> Visitor:
    """A visitor, once as nobody and once as ada."""
    return visitor if request.param == "anonymous" else await sign_in(ada)


def path_of(rule: Rule) -> str:
    """An address that the rule matches."""
    path = rule.rule
    for name in rule.arguments:
        for converter in ("path:", "int(signed=True):", "int:", ""):
            path = path.replace(f"<{converter}{name}>", SHOWN[name])
    return path


def assert_complete(page: Page, records: list[str], asked: str) -> None:
    for name, value in SECURITY_HEADERS.items():
        assert page.headers.getlist(name) == [value], asked
    ids = page.headers.getlist("X-Error-Id")
    if page.status >= 500:
        assert len(ids) == 1, asked
        assert [record[-13:-1] for record in records] == ids, asked
    else:
        assert (ids, records) == ([], []), asked


async def test_every_route_and_method_is_answered_completely(app: Quart, anybody: Visitor, log: LogFile) -> None:
    answered = 0
    for rule in app.url_map.iter_rules():
        for method in METHODS:
            before = len(log.failures)
            page = await anybody.send(method, path_of(rule))
            assert_complete(page, log.failures[before:], f"{method} {rule.rule}: {page.status}")
            assert page.status < 500 or rule.endpoint.startswith("rehearsal."), f"{method} {rule.rule}"
            answered += 1

    assert answered >= len(METHODS) * 10


async def test_every_route_that_fails_is_answered_completely(app: Quart, anybody: Visitor, log: LogFile) -> None:
    async def fail(**_: str) -> NoReturn:
        raise RuntimeError("no luck")

    for rule in app.url_map.iter_rules():
        # A failing view needs neither a form nor somebody.
        app.view_functions[rule.endpoint] = from_anywhere(fail)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            before = len(log.failures)
            page = await anybody.send(method, path_of(rule))
            assert page.status == 500, f"{method} {rule.rule}"
            assert page.headers["X-Error-Id"] in page.text
            assert_complete(page, log.failures[before:], f"{method} {rule.rule}")


async def test_an_address_that_matches_no_route_is_answered_completely(anybody: Visitor, log: LogFile) -> None:
    for method, path in product(METHODS, UNKNOWN):
        page = await anybody.send(method, path)

        assert page.status < 500, f"{method} {path}"
        assert_complete(page, log.failures, f"{method} {path}")


async def test_no_redirect_leads_where_the_host_header_says(anybody: Visitor) -> None:
    hosts = ("evil.example", "evil.example:81", "[::1]:5000")
    paths = ("//user//edit", "/user//edit", "//user/info//ada", "/user/edit", "/errors//rehearsal")
    for host, path in product(hosts, paths):
        page = await anybody.get(path, Host=host)

        assert "evil" not in page.location + page.text, (host, path)
        assert page.location == "" or (page.location[0] == "/" and page.location[1:2] not in {"/", "\\"}), (host, path)
