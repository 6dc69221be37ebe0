"""Routes -> the readers of each group besides the admins."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from quartblog.delivery.mail.recipients import matches, readers
from quartblog.delivery.options import Route
from quartblog.delivery.store.digests import Share

OPS = ("ops@example.org",)


def a_share(**changes: Any) -> Share:
    """Return one error of an edit that failed."""
    return Share("00000000000000aa", 1, logging.ERROR, "blog.profile", "/user/edit")._replace(**changes)


@pytest.mark.parametrize(
    ("route", "match"),
    [
        (Route(OPS), True),
        (Route(OPS, level="ERROR"), True),
        (Route(OPS, level="CRITICAL"), False),
        (Route(OPS, logger="blog"), True),
        (Route(OPS, logger="blog.profile"), True),
        (Route(OPS, logger="blog.pro"), False),
        (Route(OPS, logger="blog.profile.avatar"), False),
        (Route(OPS, path="/user"), True),
        (Route(OPS, path="/user/"), True),
        (Route(OPS, path="/user/edit"), True),
        (Route(OPS, path="/"), True),
        (Route(OPS, path="/us"), False),
        (Route(OPS, path="/user/edit/avatar"), False),
        (Route(OPS, level="ERROR", logger="blog", path="/user"), True),
        (Route(OPS, level="ERROR", logger="shop", path="/user"), False),
    ],
)
def test_a_route_selects_the_groups_that_meet_all_its_conditions(route: Route, match: bool) -> None:  # noqa: FBT001
    assert matches(route, a_share()) is match


@pytest.mark.parametrize("path", ["/", "/user"])
def test_a_path_means_no_group_outside_of_requests(path: str) -> None:
    assert not matches(Route(OPS, path=path), a_share(route=None))


def test_each_address_reads_the_errors_of_all_its_routes_once() -> None:
    plain, shop = a_share(), a_share(fingerprint="00000000000000bb", logger="shop", level=logging.CRITICAL)
    routes = [
        Route(("eve@example.org", "ops@example.org"), level="CRITICAL"),
        Route(("OPS@example.org",), path="/user"),
        Route(("bob@example.org",), logger="shop"),
        Route(("nobody@example.org",), logger="elsewhere"),
    ]

    assert readers(routes, [plain, shop], besides=()) == {
        "eve@example.org": [shop],
        "ops@example.org": [shop, plain],
        "bob@example.org": [shop],
    }


def test_an_admin_gets_no_second_mail() -> None:
    assert readers([Route(("Ada@example.org",))], [a_share()], besides=("ada@example.org",)) == {}
