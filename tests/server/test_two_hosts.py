"""Two hosts with one PostgreSQL: separate folders, the same accounts, logins and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.client import PASSWORD
from tests.support.processes import eventually

if TYPE_CHECKING:
    from tests.support.processes import Server, Servers

pytestmark = pytest.mark.postgres

KEY = "the same key on both hosts, of course"


@pytest.fixture
def hosts(servers: Servers, postgres_url: str) -> list[Server]:
    """Two running sites."""
    sections: dict[str, dict[str, object]] = {"database": {"url": postgres_url}, "security": {"secret_key": KEY}}
    return [servers.quartblog(servers.site(name, errors={"rehearsal_route": True}, **sections)) for name in "ab"]


def test_two_hosts_share_logins_and_names(hosts: list[Server]) -> None:
    here, there = hosts
    # As behind a load balancer: for the browser, both are one site.
    ada = here.client(Host="blog.example.org")
    ada.register("ada")
    ada.sign_in("ada")

    ada.url = there.url
    assert "你好，ada！" in ada.get("/").text
    assert ada.submit("/", body="from the other host").status == 302
    assert "from the other host" in here.client().get("/").text

    taken = there.client().submit(
        "/register", username="Ada", email="other@example.com", password=PASSWORD, password2=PASSWORD
    )
    assert taken.errors_beside("username") == "该用户名已被使用"

    ada.submit("/logout")
    ada.url = here.url
    assert ada.get("/user/edit").status == 302


def test_each_host_keeps_its_own_log(hosts: list[Server]) -> None:
    here, there = hosts

    error_id = here.client().get("/errors/rehearsal").headers["X-Error-Id"]

    eventually(lambda: error_id in here.log)
    assert error_id not in there.log


def test_with_another_key_a_host_does_not_know_the_logins_of_the_others(servers: Servers, postgres_url: str) -> None:
    here, there = (
        servers.quartblog(servers.site(name, database={"url": postgres_url}, security={"secret_key": f"{KEY} {name}"}))
        for name in "ab"
    )
    ada = here.client()
    ada.register("ada")
    ada.sign_in("ada")

    ada.url = there.url
    assert ada.get("/user/edit").status == 302

    ada.url = here.url
    assert ada.get("/user/edit").status == 200
