"""What ends a login, and what does not."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from itsdangerous import TimestampSigner
from sqlalchemy import delete, func, select, update

from quartblog.auth import service
from quartblog.database import Database
from quartblog.models import Login, User
from quartblog.settings import Settings
from tests.support.browsing import FROM_OURSELVES, PASSWORD, Serve, SignIn, Visitor
from tests.support.log_file import LogFile

LOGIN_COOKIE = "quartblog_login"


async def is_signed_in(visitor: Visitor) -> bool:
    return (await visitor.get("/user/edit")).status == 200


async def copy_of(visitor: Visitor) -> Visitor:
    """Another browser with the same cookies: somebody who has got hold of them."""
    copied = Visitor(visitor.app)
    for cookie in visitor.client.cookie_jar or ():
        copied.set_cookie(cookie.name, cookie.value or "")
    assert await is_signed_in(copied)
    return copied


async def test_signing_out_ends_the_login_for_whoever_has_the_cookie(
    ada: User, sign_in: SignIn, database: Database
) -> None:
    visitor = await sign_in(ada)
    thief = await copy_of(visitor)

    answer = await visitor.submit("/logout")

    assert (answer.status, answer.location) == (302, "/")
    assert visitor.cookie(LOGIN_COOKIE) is None
    assert not await is_signed_in(visitor)
    assert not await is_signed_in(thief)
    async with database.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(Login)) == 0


async def test_signing_out_here_leaves_other_browsers_alone(ada: User, sign_in: SignIn) -> None:
    here, there = await sign_in(ada), await sign_in(ada)

    await here.submit("/logout")

    assert not await is_signed_in(here)
    assert await is_signed_in(there)


async def test_deleting_the_account_ends_its_logins(ada: User, sign_in: SignIn, database: Database) -> None:
    visitor = await sign_in(ada)

    async with database.transaction() as session:
        await session.execute(delete(User).where(User.id == ada.id))

    assert not await is_signed_in(visitor)
    assert (await visitor.get("/")).status == 200


async def test_a_new_password_ends_every_login(ada: User, sign_in: SignIn, database: Database) -> None:
    here, there = await sign_in(ada), await sign_in(ada)

    async with database.transaction() as session:
        await service.change_password(session, ada.id, "another hash")

    assert not await is_signed_in(here)
    assert not await is_signed_in(there)


async def test_an_expired_login_counts_no_longer(ada: User, sign_in: SignIn, database: Database) -> None:
    visitor = await sign_in(ada)

    async with database.transaction() as session:
        await session.execute(update(Login).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))

    assert not await is_signed_in(visitor)


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c", "\xff", '"', "InRva2VuIg.aaaaaa.bbbbbb"])
async def test_a_made_up_cookie_is_nobody(visitor: Visitor, cookie: str) -> None:
    page = await visitor.get("/", Cookie=f"{LOGIN_COOKIE}={cookie}")

    assert page.status == 200
    assert "登录" in page.text


async def test_a_stolen_database_signs_nobody_in(ada: User, sign_in: SignIn, database: Database) -> None:
    await sign_in(ada)

    async with database.transaction() as session:
        (digest,) = await session.scalars(select(Login.token_digest))
        assert await service.by_token(session, digest) is None


async def test_a_new_secret_key_signs_nobody_out(serve: Serve, ada: User) -> None:
    old, new = "an old key of thirty-two characters", "a new key of thirty-two characters!"
    before = Visitor(await serve(security={"secret_key": old}))
    await before.submit("/login", username="ada", password=PASSWORD)

    rotated = Visitor(await serve(security={"secret_key": new, "secret_key_fallbacks": [old]}))
    replaced = Visitor(await serve(security={"secret_key": new}))
    for cookie in before.client.cookie_jar or ():
        rotated.set_cookie(cookie.name, cookie.value or "")
        replaced.set_cookie(cookie.name, cookie.value or "")

    form = {"username": "ada", "about_me": "still here"}
    assert (await rotated.submit("/user/edit", **form)).location == "/user/edit"
    assert (await replaced.submit("/user/edit", **form)).location == "/login"
    assert not await is_signed_in(replaced)


async def test_a_clock_that_was_turned_back_signs_nobody_out(
    ada: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time())
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: now + 86_400)
    visitor = await sign_in(ada)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: now)

    assert await is_signed_in(visitor)


@pytest.mark.parametrize("site", ["same-origin", "cross-site", "same-site", "none"])
async def test_an_address_alone_signs_nobody_out(ada: User, sign_in: SignIn, site: str) -> None:
    visitor = await sign_in(ada)

    page = await visitor.get("/logout", Sec_Fetch_Site=site)

    assert page.status == 200
    assert "要退出吗？" in page.text
    assert await is_signed_in(visitor)
    answer = await visitor.submit("/logout")
    assert answer.status == 302
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert not await is_signed_in(visitor)


async def test_signing_in_again_ends_the_login_before(ada: User, grace: User, sign_in: SignIn) -> None:
    visitor = await sign_in(ada)
    thief = await copy_of(visitor)
    elsewhere = await sign_in(ada)

    await visitor.submit("/login", username="grace", password=PASSWORD)

    assert "grace" in (await visitor.get("/user/edit")).text
    assert not await is_signed_in(thief)
    assert await is_signed_in(elsewhere)


@pytest.mark.parametrize(("ago", "lasts"), [(timedelta(minutes=-1), True), (timedelta(minutes=1), False)])
async def test_a_login_that_nobody_uses_ends(
    *, ada: User, sign_in: SignIn, database: Database, settings: Settings, ago: timedelta, lasts: bool
) -> None:
    visitor, other = await sign_in(ada), await sign_in(ada)
    used = datetime.now(UTC) - timedelta(days=settings.security.idle_days) - ago
    async with database.transaction() as session:
        newest = await session.scalar(select(func.max(Login.id)))
        await session.execute(update(Login).where(Login.id != newest).values(last_used_at=used))

    assert await is_signed_in(other)
    assert await is_signed_in(visitor) is lasts


async def test_each_browser_of_a_user_keeps_its_own_login_alive(ada: User, sign_in: SignIn, database: Database) -> None:
    here, there = await sign_in(ada), await sign_in(ada)
    long_ago = datetime.now(UTC) - timedelta(days=2)
    async with database.transaction() as session:
        await session.execute(update(Login).values(last_used_at=long_ago))

    assert await is_signed_in(here)
    assert await is_signed_in(there)

    async with database.transaction() as session:
        assert all(used > long_ago for used in await session.scalars(select(Login.last_used_at)))


async def test_a_login_knows_its_browser_and_where_it_was_used(
    serve: Serve, ada: User, database: Database, subtests: pytest.Subtests
) -> None:
    for kept, address in (("full", "203.0.113.7"), ("shortened", "203.0.113.0/24"), ("none", "")):
        with subtests.test(kept):
            app = await serve(security={"log_addresses": kept, "trusted_proxies": 1})
            browser = Visitor(app, User_Agent="Firefox\xe9" + "x" * 300, X_Forwarded_For="203.0.113.7")
            await browser.submit("/login", username="ada", password=PASSWORD)
            async with database.transaction() as session:
                [login] = await session.scalars(select(Login).order_by(Login.id.desc()).limit(1))
            assert login.browser == "Firefox??" + "x" * 191
            assert login.address == address


async def test_two_sites_on_one_machine_leave_each_others_cookies_alone(serve: Serve, ada: User) -> None:
    app = await serve()
    visitor = Visitor(app)
    for port in ("5000", "5001"):
        answer = await visitor.send(
            "POST",
            "/login",
            form={"username": "ada", "password": PASSWORD},
            headers={**FROM_OURSELVES, "Host": f"127.0.0.1:{port}"},
        )
        assert f"{LOGIN_COOKIE}_{port}=" in str(answer.headers.getlist("Set-Cookie"))


async def test_who_is_not_signed_in_may_sign_out(visitor: Visitor) -> None:
    elsewhere = await visitor.get("/logout", Sec_Fetch_Site="cross-site")
    assert (elsewhere.location, "Set-Cookie" in elsewhere.headers) == ("/", False)
    assert (await visitor.submit("/logout")).location == "/"


async def test_an_operator_learns_that_browsers_drop_the_login_cookie(
    serve: Serve, ada: User, settings: Settings
) -> None:
    app = await serve(site={"public_url": "https://blog.example.org"})
    log = LogFile(app, settings.logging.directory / settings.logging.filename)
    for _ in range(3):
        await Visitor(app).submit("/login", username="ada", password=PASSWORD)

    # Two apps write each of their records to this file: the one that has made ada, too.
    [line, *again] = [line for line in log.text.splitlines() if "drops the login cookie" in line]
    assert len(again) <= 1
    assert "WARNING" in line
    assert "[security] trusted_proxies" in line
