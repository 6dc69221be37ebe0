"""Routes -> the readers of each group besides the admins."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from quartblog.delivery.mail.recipients import matches, shares_of
from quartblog.delivery.options import Reader
from quartblog.delivery.store.digests import Share

OPS = ("ops@example.org",)


def a_share(**changes: Any) -> Share:
    """Return one error of an edit that failed."""
    return Share("00000000000000aa", 1, 0, logging.ERROR, "blog.profile", "/user/edit")._replace(**changes)


@pytest.mark.parametrize(
    ("reader", "match"),
    [
        (Reader(OPS), True),
        (Reader(OPS, level="ERROR"), True),
        (Reader(OPS, level="CRITICAL"), False),
        (Reader(OPS, logger="blog"), True),
        (Reader(OPS, logger="blog.profile"), True),
        (Reader(OPS, logger="blog.pro"), False),
        (Reader(OPS, logger="blog.profile.avatar"), False),
        (Reader(OPS, path="/user"), True),
        (Reader(OPS, path="/user/"), True),
        (Reader(OPS, path="/user/edit"), True),
        (Reader(OPS, path="/"), True),
        (Reader(OPS, path="/us"), False),
        (Reader(OPS, path="/user/edit/avatar"), False),
        (Reader(OPS, level="ERROR", logger="blog", path="/user"), True),
        (Reader(OPS, level="ERROR", logger="shop", path="/user"), False),
    ],
)
def test_a_route_selects_the_groups_that_meet_all_its_conditions(reader: Reader, match: bool) -> None:  # noqa: FBT001
    assert matches(reader, a_share()) is match


@pytest.mark.parametrize("path", ["/", "/user"])
def test_a_path_means_no_group_outside_of_requests(path: str) -> None:
    assert not matches(Reader(OPS, path=path), a_share(route=None))


def test_each_address_reads_the_errors_of_all_its_routes_once() -> None:
    plain, shop = a_share(), a_share(fingerprint="00000000000000bb", logger="shop", level=logging.CRITICAL)
    readers = [
        Reader(("eve@example.org", "ops@example.org"), level="CRITICAL"),
        Reader(("OPS@example.org",), path="/user"),
        Reader(("bob@example.org",), logger="shop"),
        Reader(("nobody@example.org",), logger="elsewhere"),
    ]

    assert shares_of(readers, [plain, shop], besides=()) == {
        "eve@example.org": [shop],
        "ops@example.org": [shop, plain],
        "bob@example.org": [shop],
    }


def test_an_admin_gets_no_second_mail() -> None:
    assert shares_of([Reader(("Ada@example.org",))], [a_share()], besides=("ada@example.org",)) == {}
