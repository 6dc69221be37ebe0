"""An administrator reads the errors while the blog's database is away; nobody else does."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from itsdangerous import TimestampSigner
from quart import Quart

from quartblog.operations.access import ADMISSION, PROOF
from quartblog.operations.keys import PROVEN, end_proofs, make_key
from tests.support.browsing import PASSWORD, Visitor
from tests.support.failures import an_event

if TYPE_CHECKING:
    from pathlib import Path

    from quartblog.database import Database
    from quartblog.delivery import Outbox
    from quartblog.models import User
    from quartblog.settings import Settings
    from tests.support.browsing import SignIn
    from tests.support.log_file import LogFile

pytestmark = pytest.mark.sqlite

PATH = "/operations/errors"
LOGIN = "quartblog_login"


class Site:
    """A site whose database can be taken away."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._file = folder / "quartblog.sqlite3"

    async def lose(self) -> None:
        await self._database.close()
        self._file.rename(self._file.with_suffix(".kept"))
        self._file.mkdir()

    def find(self) -> None:
        self._file.rmdir()
        self._file.with_suffix(".kept").rename(self._file)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    return Site(database, tmp_path)


@pytest.fixture(autouse=True)
def error(outbox: Outbox) -> None:
    """An error to read."""
    outbox.record([an_event()])


@pytest.fixture
async def member(grace: User, sign_in: SignIn) -> Visitor:
    """Grace, who is no administrator."""
    return await sign_in(grace)


def copy_of(visitor: Visitor, app: Quart, *names: str) -> Visitor:
    """A browser with these cookies of another one."""
    other = Visitor(app)
    for name in names:
        value = visitor.cookie(name)
        assert value
        other.set_cookie(name, value)
    return other


async def test_an_administrator_reads_on_without_the_database(admin: Visitor, site: Site) -> None:
    assert (await admin.get(PATH)).status == 200
    await site.lose()

    page = await admin.get(PATH)
    assert page.status == 200
    assert "the edit failed" in page.text
    assert (await admin.get(f"{PATH}/1")).status == 200
    assert (await admin.submit(f"{PATH}/1", action="resolve")).status == 302
    assert (await admin.get("/")).status == 503

    site.find()
    assert (await admin.get("/")).status == 200
    assert "the edit failed" not in (await admin.get(PATH)).text


async def test_nobody_else_reads_without_the_database(
    *, admin: Visitor, member: Visitor, app: Quart, site: Site, log: LogFile
) -> None:
    await member.get(PATH)
    await admin.get(PATH)
    proof = admin.cookie(PROOF)
    assert proof
    await site.lose()

    stranger, other = Visitor(app), copy_of(member, app, LOGIN)
    forged = copy_of(admin, app, LOGIN)
    stranger.set_cookie(PROOF, proof)
    other.set_cookie(PROOF, proof)
    forged.set_cookie(PROOF, proof[:-4] + "AAAA")
    answers = {
        "without a proof": await copy_of(admin, app, LOGIN).get(PATH),
        "of another login": await other.get(PATH),
        "forged": await forged.get(PATH),
        "a member": await member.get(PATH),
    }
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(answers, 503)
    assert (await stranger.get(PATH)).location.startswith("/login")
    assert log.text.count("Refused a proof for the operations pages") == 1


async def test_a_proof_ends_after_twelve_hours(admin: Visitor, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = TimestampSigner.get_timestamp
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: real(self) - PROVEN - 5)
    await admin.get(PATH)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", real)
    await site.lose()

    assert (await admin.get(PATH)).status == 503


async def test_signing_out_ends_the_proof(admin: Visitor, app: Quart, site: Site) -> None:
    await admin.get(PATH)
    proof = admin.cookie(PROOF)
    assert proof
    await admin.submit("/logout")
    admin.set_cookie(PROOF, proof)
    await site.lose()

    assert (await admin.get(PATH)).location.startswith("/login")


async def test_signing_out_without_the_database_ends_the_proof_too(admin: Visitor, app: Quart, site: Site) -> None:
    await admin.get(PATH)
    copied = copy_of(admin, app, LOGIN, PROOF)
    await site.lose()

    answer = await admin.submit("/logout")

    assert answer.status == 503
    assert any(line.startswith(f"{PROOF}=;") for line in answer.headers.getlist("Set-Cookie"))
    assert (await copied.get(PATH)).status == 503


async def test_copied_cookies_of_a_login_that_was_signed_out_prove_nothing(
    admin: Visitor, app: Quart, site: Site, log: LogFile
) -> None:
    await admin.get(PATH)
    copied = copy_of(admin, app, LOGIN, PROOF)
    await admin.submit("/logout")
    await site.lose()

    assert (await copied.get(PATH)).status == 503
    assert "Refused a proof for the operations pages" in log.text


@pytest.mark.parametrize("how", ["new password", "all others", "one other"])
async def test_a_browser_that_another_one_has_signed_out_proves_nothing(
    *, admin: Visitor, ada: User, sign_in: SignIn, site: Site, how: str
) -> None:
    here = await sign_in(ada)
    await admin.get(PATH)
    await here.get(PATH)
    if how == "new password":
        new = "another long pass phrase"
        answer = await here.submit("/account/password", present=PASSWORD, password=new, password2=new)
    else:
        answer = await here.submit("/account/sessions", end="others" if how == "all others" else "1")
    assert answer.location == "/account"
    await site.lose()

    assert (await admin.get(PATH)).status == 503


async def test_the_browser_that_stays_gets_another_proof(
    admin: Visitor, site: Site, settings: Settings, ada: User
) -> None:
    end_proofs(settings.delivery.outbox.parent, ada.id)
    [noted] = settings.delivery.outbox.parent.glob("operations-ended-*")
    earlier = time.time() - 5
    os.utime(noted, (earlier, earlier))
    await admin.get(PATH)
    await site.lose()

    assert (await admin.get(PATH)).status == 200
    os.utime(noted)
    assert (await admin.get(PATH)).status == 503


async def test_signing_out_takes_the_cookies_of_these_pages_from_the_browser(admin: Visitor) -> None:
    await admin.get(PATH)
    answer = await admin.submit("/logout")

    ended = [line for line in answer.headers.getlist("Set-Cookie") if "Max-Age=0" in line]
    paths = {line.partition("=")[0]: "Path=/operations" in line for line in ended}
    assert (paths[PROOF], paths[ADMISSION]) == (True, False)


async def test_the_end_of_a_login_is_noted_for_administrators_alone(
    admin: Visitor, member: Visitor, settings: Settings
) -> None:
    folder = settings.delivery.outbox.parent
    await member.submit("/logout")
    assert not list(folder.glob("operations-ended-*"))

    await admin.submit("/logout")
    [file] = folder.glob("operations-ended-*")
    assert file.stat().st_mode & 0o777 == 0o600


async def test_only_the_operations_pages_get_the_proof(admin: Visitor) -> None:
    page = await admin.get(PATH)

    [cookie] = [cookie for cookie in page.headers.getlist("Set-Cookie") if cookie.startswith(PROOF)]
    for part in ("HttpOnly", "Path=/operations", "SameSite=Strict", f"Max-Age={PROVEN}"):
        assert part in cookie


async def test_a_key_opens_the_pages_without_the_database(
    member: Visitor, app: Quart, site: Site, settings: Settings
) -> None:
    key = make_key(settings.delivery.outbox.parent, time.time())
    await site.lose()

    for visitor in (Visitor(app), member):
        assert (await visitor.get(f"/operations/enter?key={key}")).status == 200
    assert (await member.submit(f"/operations/enter?key={key}")).location == PATH
    assert "the edit failed" in (await member.get(PATH)).text
    assert (await member.get("/")).status == 503
