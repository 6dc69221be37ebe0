"""What an operator can read about security: one record an event, with user and address, and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.browsing import PASSWORD, Visitor

if TYPE_CHECKING:
    from quart import Quart

    from quartblog.models import User
    from tests.support.browsing import Serve
    from tests.support.log_file import LogFile


def records(log: LogFile, event: str) -> list[str]:
    return [line for line in log.text.splitlines() if f"INFO: {event}: " in line]


async def test_signing_in_and_out_is_recorded(ada: User, visitor: Visitor, log: LogFile) -> None:
    await visitor.submit("/login", username="ada", password="a wrong password")
    await visitor.submit("/login", username="ada", password=PASSWORD)
    await visitor.submit("/logout")

    assert len(records(log, "sign-in refused")) == 1
    assert f"signed in: user {ada.id}, address " in records(log, "signed in")[0]
    assert f"signed out: user {ada.id}, address " in records(log, "signed out")[0]
    assert PASSWORD not in log.text
    assert "a wrong password" not in log.text


async def test_who_was_not_signed_in_has_not_signed_out(visitor: Visitor, log: LogFile) -> None:
    await visitor.submit("/logout")

    assert records(log, "signed out") == []


async def test_a_registration_is_recorded(visitor: Visitor, log: LogFile) -> None:
    form = {"username": "lin", "email": "lin@example.com", "password": "long enough 1", "password2": "long enough 1"}
    await visitor.submit("/register", **form)

    assert len(records(log, "registered")) == 1
    assert "lin@example.com" not in log.text


@pytest.mark.parametrize(
    ("kept", "client", "address"),
    [
        ("full", "203.0.113.7", "203.0.113.7"),
        ("shortened", "203.0.113.7", "203.0.113.0/24"),
        ("shortened", "2001:db8:1:2::7", "2001:db8:1::/48"),
        ("none", "203.0.113.7", "-"),
        ("full", "not an address", "-"),
    ],
)
async def test_addresses_are_kept_as_far_as_the_setting_says(
    *, serve: Serve, ada: User, log: LogFile, kept: str, client: str, address: str
) -> None:
    app: Quart = await serve(security={"log_addresses": kept, "trusted_proxies": 1})
    await Visitor(app, X_Forwarded_For=client).submit("/login", username="ada", password=PASSWORD)

    assert records(log, "signed in")[0].split(" [in ")[0].endswith(f"user {ada.id}, address {address}")
