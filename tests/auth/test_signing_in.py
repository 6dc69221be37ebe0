"""Signing in: who is let in, what a refusal tells, and what the cookie is like."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session
from werkzeug.security import check_password_hash

from quartblog.auth import passwords, service
from quartblog.database import Database
from quartblog.models import Login, User
from tests.support.browsing import FROM_OURSELVES, PASSWORD, Page, Serve, SignIn, Visitor
from tests.support.log_file import LogFile

LOGIN_COOKIE = "quartblog_login"


def login_cookie(page: Page) -> dict[str, str]:
    """The attributes of the login cookie an answer sets, empty where it sets none."""
    for header in page.headers.getlist("Set-Cookie"):
        cookie = SimpleCookie(header)
        if LOGIN_COOKIE in cookie:
            return {name: value for name, value in cookie[LOGIN_COOKIE].items() if value}
    return {}


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hash each password check was made against, in order."""
    seen: list[str] = []

    def note(password_hash: str, password: str) -> bool:
        seen.append(password_hash)
        return check_password_hash(password_hash, password)

    monkeypatch.setattr(passwords, "check_password_hash", note)
    return seen


@pytest.fixture
def broken_commit(database: Database) -> Iterator[None]:
    """Every commit fails."""

    def fail(_session: Session) -> None:
        raise OSError("no space left on device")

    event.listen(Session, "before_commit", fail)
    yield
    event.remove(Session, "before_commit", fail)


@pytest.mark.parametrize("spelling", ["ada", "ADA", "Ａｄａ", " ada "])
async def test_the_name_counts_in_any_spelling(ada: User, visitor: Visitor, spelling: str) -> None:
    answer = await visitor.submit("/login", username=spelling, password=PASSWORD)

    assert (answer.status, answer.location) == (302, "/")
    assert "你好，ada！" in (await visitor.get("/")).text


@pytest.mark.parametrize("username", ["ada", "nobody", "a/b", "x" * 400])
async def test_a_refusal_does_not_tell_which_part_was_wrong(
    ada: User, visitor: Visitor, checks: list[str], username: str
) -> None:
    page = await visitor.submit("/login", username=username, password="wrong")

    assert page.status == 200
    assert page.text.count("用户名或密码有误") == 1
    assert page.value_of("username") == username
    assert page.value_of("password") == ""
    assert page.errors_beside("username") == page.errors_beside("password") == ""
    # An unknown name costs one check with the same parameters, so the time tells nothing either.
    assert [check.split("$")[0] for check in checks] == [passwords.METHOD]
    assert visitor.cookie(LOGIN_COOKIE) is None


async def test_nobodys_hash_lets_nobody_in(visitor: Visitor) -> None:
    page = await visitor.submit("/login", username="nobody", password="nobody has this password")

    assert "用户名或密码有误" in page.text


@pytest.mark.parametrize(
    ("fields", "field", "explanation"),
    [
        ({"password": "x"}, "username", "请填写用户名"),
        ({"username": "ada"}, "password", "请填写密码"),
        ({"username": "ada", "password": "x" * 257}, "password", "密码最多 256 个字符"),
    ],
)
async def test_what_is_missing_is_explained_beside_its_field(
    visitor: Visitor, checks: list[str], fields: dict[str, str], field: str, explanation: str
) -> None:
    page = await visitor.submit("/login", **fields)

    assert page.errors_beside(field) == explanation
    assert checks == []


@pytest.mark.parametrize(
    ("asked", "max_age", "days"),
    [({"remember_me": "y"}, str(7 * 24 * 3600), 7), ({}, None, 1)],
)
async def test_remember_me_decides_how_long_cookie_and_login_last(
    serve: Serve, ada: User, database: Database, *, asked: dict[str, str], max_age: str | None, days: int
) -> None:
    visitor = Visitor(await serve(security={"session_days": 7}))

    answer = await visitor.submit("/login", username="ada", password=PASSWORD, **asked)

    cookie = login_cookie(answer)
    assert cookie.get("max-age") == max_age
    assert "expires" not in cookie or max_age is not None
    async with database.transaction() as session:
        (login,) = await session.scalars(select(Login))
    assert login.expires_at - login.created_at == timedelta(days=days)


@pytest.mark.parametrize(
    ("public_url", "secure"), [("http://127.0.0.1:5000", False), ("https://blog.example.org", True)]
)
async def test_cookies_are_as_safe_as_the_sites_address_allows(
    serve: Serve, ada: User, public_url: str, *, secure: bool
) -> None:
    app = await serve(site={"public_url": public_url})
    client = app.test_client()
    scheme = "https" if secure else "http"
    sent = await client.get("/user/edit", scheme=scheme)

    answer = await client.post(
        "/login", scheme=scheme, form={"username": "ada", "password": PASSWORD}, headers=FROM_OURSELVES
    )

    assert answer.status_code == 302
    prefix = "__Host-" if secure else ""
    cookies = [*sent.headers.getlist("Set-Cookie"), *answer.headers.getlist("Set-Cookie")]
    assert {cookie.partition("=")[0] for cookie in cookies} == {f"{prefix}quartblog", f"{prefix}{LOGIN_COOKIE}"}
    for cookie in cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert ("Secure" in cookie) is secure
    assert ("Strict-Transport-Security" in answer.headers) is secure


async def test_a_failed_commit_leaves_no_valid_cookie(
    ada: User, visitor: Visitor, broken_commit: None, log: LogFile
) -> None:
    page = await visitor.submit("/login", username="ada", password=PASSWORD)

    assert page.status == 500
    assert login_cookie(page) == {}
    assert page.headers["X-Error-Id"] in log.failure()


async def test_a_password_changed_during_the_check_lets_nobody_in(
    ada: User, visitor: Visitor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = passwords.verify_password

    async def change_meanwhile(password_hash: str | None, password: str) -> bool:
        fits = await verify(password_hash, password)
        async with database.transaction() as session:
            await service.change_password(session, ada.id, "another hash")
        return fits

    monkeypatch.setattr("quartblog.auth.views.verify_password", change_meanwhile)

    page = await visitor.submit("/login", username="ada", password=PASSWORD)

    assert "用户名或密码有误" in page.text
    assert login_cookie(page) == {}


async def test_who_is_signed_in_is_not_asked_again(ada: User, sign_in: SignIn) -> None:
    visitor = await sign_in(ada)

    assert (await visitor.get("/login")).location == "/"
    assert (await visitor.get("/login?next=/user/edit")).location == "/user/edit"


async def test_logins_of_the_past_are_cleared_away(ada: User, database: Database, sign_in: SignIn) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    async with database.transaction() as session:
        session.add(
            Login(
                token_digest="old",
                user_id=ada.id,
                created_at=past,
                expires_at=past + timedelta(days=1),
                last_used_at=past,
                browser="",
                address="",
            )
        )

    await sign_in(ada)

    async with database.transaction() as session:
        assert "old" not in set(await session.scalars(select(Login.token_digest)))


async def test_passwords_are_checked_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def note(_password_hash: str, _password: str) -> bool:
        threads.append(threading.current_thread().name)
        return True

    monkeypatch.setattr(passwords, "check_password_hash", note)

    assert await passwords.verify_password("a hash", "x")
    assert not await passwords.verify_password(None, "x")
    assert all(name.startswith("scrypt") for name in threads)
