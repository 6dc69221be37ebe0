"""The administrator's way: from the id that a visitor quotes to an error that is resolved, comes back and is muted."""

import re
import socket
import time
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import OpenTab
from tests.support.chromium import find, sign_in
from tests.support.moving import moved_away
from tests.support.people import ADMIN, appoint
from tests.support.processes import PATIENCE, Server, Servers
from tests.support.smtp import Mail, MailServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

OPEN, RESOLVED, MUTED = "未解决", "已解决", "静音，直到 1小时内再发生 10 次以上"


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_an_error_goes_from_the_visitor_to_the_administrator_and_back(
    tmp_path: Path, open_tab: OpenTab, *, scripts: bool
) -> None:
    with Servers(tmp_path) as servers, MailServer() as mail_server:
        site = serve(servers, mail_server)
        visitor, admin = await open_tab(), await open_tab(java_script_enabled=scripts)
        await sign_in(admin, site, ADMIN)

        # Two, because the third one mails for no other reason than that the group was resolved.
        await meet_an_error(visitor, site)
        mail_server.wait_for(1)
        quoted = await meet_an_error(visitor, site)
        mail_server.wait_for(2)
        group = await look_up(admin, site, quoted)
        await read_the_traceback(admin)
        await write_a_note(admin, "the disk of the pictures is full")
        await act(admin, "标记为已解决")
        await expect(fact(admin, "状态")).to_contain_text(RESOLVED)
        await admin.get_by_role("link", name="管理").click()
        await expect(admin.get_by_role("main")).to_contain_text("没有未解决的错误")

        # It happens again: the group is open again, and a mail leads to it.
        await meet_an_error(visitor, site)
        [mail] = mail_server.wait_for(3)[2:]
        assert address_of(mail) == group
        await admin.goto(address_of(mail))
        await expect(fact(admin, "状态")).to_contain_text(OPEN)
        await expect(fact(admin, "次数")).to_contain_text("3")
        await expect(history(admin).first).to_contain_text("再次发生")
        await expect(history(admin)).to_contain_text([
            "再次发生",
            "ops · 已解决",
            "the disk of the pictures is full",
        ])  # fmt: skip

        # Ten more do not mail: a test error that follows them mails, alone.
        await admin.get_by_text("自定次数").click()
        await admin.get_by_label("在这段时间内超过几次才再通知").fill("10")
        await act(admin, "静音")
        await expect(fact(admin, "状态")).to_contain_text(MUTED)
        for _ in range(10):
            await meet_an_error(visitor, site)
        await count(admin, 13)
        await admin.goto(f"{site.url}/operations/delivery")
        await act(admin, "记录测试错误")
        [other] = mail_server.wait_for(4)[3:]
        assert "A test error, which ops asked for" in other.text
        assert "Rehearsal" not in other.text

        # The eleventh does.
        await meet_an_error(visitor, site)
        [last] = mail_server.wait_for(5)[4:]
        assert address_of(last) == group
        await admin.goto(address_of(last))
        await expect(fact(admin, "状态")).to_contain_text(OPEN)
        await expect(fact(admin, "次数")).to_contain_text("14")
        await expect(history(admin).first).to_contain_text("静音结束")
        assert site.stop() == 0
        assert site.stderr == ""


async def test_the_errors_are_read_while_a_folder_is_in_the_place_of_the_database(
    tmp_path: Path, open_tab: OpenTab
) -> None:
    with Servers(tmp_path) as servers, MailServer() as mail_server:
        site = serve(servers, mail_server)
        visitor, admin = await open_tab(), await open_tab()
        await sign_in(admin, site, ADMIN)
        await admin.goto(f"{site.url}/operations/errors")

        with moved_away(site.folder / "instance" / "quartblog.sqlite3"):
            answer = await visitor.goto(site.url)
            assert answer is not None
            assert answer.status == 503
            quoted = await visitor.locator("code").inner_text()
            await look_up(admin, site, quoted)
            await expect(admin.locator(".said")).to_have_text("The database does not answer")
            await expect(admin.locator("pre").filter(has_text="unable to open database file").first).to_be_attached()

            link = site.run("operations", "link").strip()
            assert link.startswith(site.url)
            operator, second = await open_tab(), await open_tab()
            for tab in (operator, second):
                await tab.goto(link)
                await tab.get_by_role("button", name="进入").click()
            await expect(second.locator(".status")).to_have_text("403")
            await second.goto(f"{site.url}/operations/errors")
            await expect(second).to_have_url(re.compile("/login"))
            await look_up(operator, site, quoted)
            await write_a_note(operator, "somebody has moved the database")
            await expect(history(operator).first).to_contain_text("operations link")

        # No worker was started anew.
        for tab in (visitor, admin, operator, second):
            answer = await tab.goto(site.url)
            assert answer is not None
            assert answer.status == 200
        await find(admin, site, quoted)
        await expect(history(admin).first).to_contain_text("somebody has moved the database")
        assert site.stop() == 0


def serve(servers: Servers, mail_server: MailServer) -> Server:
    """Start a site with two workers that knows its public address, and an administrator."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    folder = servers.site(
        site={"public_url": f"http://127.0.0.1:{port}"},
        mail=mail_server.settings,
        delivery={"batch_seconds": 0.2},
        errors={"rehearsal_route": True},
    )
    site = servers.quartblog(folder, f"--port={port}")
    appoint(site)
    return site


async def meet_an_error(tab: Page, site: Server) -> str:
    """Return the error id that the page shows."""
    answer = await tab.goto(f"{site.url}/errors/rehearsal")
    assert answer is not None
    assert answer.status == 500
    return await tab.locator("code").inner_text()


async def look_up(tab: Page, site: Server, error_id: str) -> str:
    """Find the group of an error by the search, as an administrator does; return its address."""
    await find(tab, site, error_id)
    await tab.get_by_role("link", name="错误", exact=True).click()
    await tab.get_by_label("错误编号或关键词").fill(f" {error_id.upper()} ")
    await tab.get_by_role("button", name="查找").click()
    await expect(tab.locator("code").first).to_have_text(error_id)
    return tab.url.partition("?")[0]


async def read_the_traceback(tab: Page) -> None:
    """Own frames are in sight, with the line that failed; those of libraries are folded."""
    own = tab.locator("pre.own").last
    await expect(own).to_be_visible()
    await expect(tab.locator(".frame").last).to_contain_text("rehearsal.py")
    await expect(own.locator("mark")).to_contain_text("raise Rehearsal(")
    folded = tab.locator("details").first
    await expect(folded.locator("pre")).to_be_hidden()
    await folded.locator("summary").click()
    await expect(folded.locator("pre")).to_be_visible()
    await expect(folded.locator("pre")).to_contain_text("site-packages")


async def write_a_note(tab: Page, text: str) -> None:
    await tab.get_by_label("备注").fill(text)
    await act(tab, "添加备注")
    await expect(history(tab).first).to_contain_text(text)


async def act(tab: Page, button: str) -> None:
    await tab.get_by_role("button", name=button, exact=True).click()


def fact(tab: Page, name: str) -> Locator:
    """What the page says of a group under this name."""
    return tab.locator("dl.facts").locator(f"dt:text-is('{name}') + dd")


def history(tab: Page) -> Locator:
    """What happened to a group, the latest first."""
    return tab.locator("h2:text-is('经过') + ul > li")


async def count(tab: Page, wanted: int) -> None:
    """Reload a group until it counts so many errors, which the workers store by and by."""
    deadline = time.monotonic() + PATIENCE
    while (await fact(tab, "次数").inner_text()).partition(" ")[0] != str(wanted):
        assert time.monotonic() < deadline
        await tab.reload()


def address_of(mail: Mail) -> str:
    """Return the address of the only group in a digest."""
    [address] = set(re.findall(r"http://\S+/operations/errors/\d+", mail.text))
    return str(address)
