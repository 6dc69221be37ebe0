"""Going on to the page that asked for signing in, and to no other site."""

from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart

from quartblog.models import User
from quartblog.web.redirects import safe_path
from tests.support.browsing import PASSWORD, SignIn, Visitor

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "/\x7f/evil.example",
    "evil.example",
    "",
]


async def test_the_way_leads_through_the_sign_in_page_and_on(ada: User, visitor: Visitor) -> None:
    asked = await visitor.get("/user/edit?from=mail")
    form = await visitor.get(asked.location)
    answer = await visitor.submit(asked.location, username="ada", password=PASSWORD)

    assert (asked.status, asked.location) == (302, "/login?next=/user/edit?from%3Dmail")
    assert "请登录后访问此页面" in form.text
    assert answer.location == "/user/edit?from=mail"


async def test_a_failed_attempt_does_not_lose_the_way(ada: User, visitor: Visitor) -> None:
    page = await visitor.submit("/login?next=/user/edit", username="ada", password="wrong")

    assert 'action="/login?next=/user/edit"' in page.text


async def test_no_address_leads_to_another_site(ada: User, app: Quart) -> None:
    for address in ELSEWHERE:
        asked = f"/login?{urlencode({'next': address})}"
        answer = await Visitor(app).submit(asked, username="ada", password=PASSWORD)

        assert (answer.status, answer.location) == (302, "/"), repr(address)


async def test_the_form_does_not_keep_an_address_elsewhere(visitor: Visitor) -> None:
    page = await visitor.get("/login?next=//evil.example")

    assert "evil" not in page.text


@pytest.mark.parametrize(
    "address",
    [
        "/logout",
        "/logout?from=mail",
        "/logout#here",
        "/log%6fut",
        "/./logout",
        "/%2Flogout",
        "/%5Clogout",
        "/%2e/logout",
        "/user/..//logout",
        "/user\\..\\logout",
        "/login?next=/logout",
    ],
)
async def test_signing_in_never_ends_in_signing_out(ada: User, visitor: Visitor, address: str) -> None:
    answer = await visitor.submit(f"/login?{urlencode({'next': address})}", username="ada", password=PASSWORD)
    if answer.location.startswith("/login"):
        answer = await visitor.get(answer.location)

    assert (answer.status, answer.location) == (302, "/")


async def test_who_is_signed_in_already_is_not_signed_out_either(ada: User, sign_in: SignIn) -> None:
    answer = await (await sign_in(ada)).get("/login?next=/logout")

    assert (answer.status, answer.location) == (302, "/")


@pytest.mark.parametrize(
    "address", ["/", "/user/edit", "/user/info/logout", "/?before=20", "/user/info/李清照", "/%09/evil", "/a//b"]
)
async def test_a_page_of_ours_is_followed(ada: User, visitor: Visitor, address: str) -> None:
    answer = await visitor.submit(f"/login?{urlencode({'next': address})}", username="ada", password=PASSWORD)

    assert answer.status == 302
    assert urlsplit(answer.location).netloc == ""
    assert answer.location.startswith(address[:2])


@given(st.text() | st.text(alphabet="/\\:.ae \t\r\n\x00@?#%[]"))
def test_what_is_safe_stays_on_this_site_in_every_reading(address: str) -> None:
    path = safe_path(address)

    assert path in {address, None}
    if path is not None:
        # Browsers drop tabs and line feeds and read a backslash as a slash.
        read = path.translate({9: None, 10: None, 13: None, 92: "/"})
        assert read.startswith("/")
        assert not read.startswith("//")
