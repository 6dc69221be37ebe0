"""What a new user does on the first evening, in a real browser, from the first page to the inbox."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenTab
from tests.support.client import PASSWORD
from tests.support.processes import Servers, configure, eventually
from tests.support.smtp import MailServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_new_user_gets_from_the_first_page_to_an_error_in_the_inbox(tmp_path: Path, open_tab: OpenTab) -> None:
    with Servers(tmp_path) as servers, MailServer() as mail_server:
        folder = servers.site()
        server = servers.quartblog(folder)
        tab = await open_tab()
        await tab.goto(server.url)

        await register(tab, "grace")
        await register(tab, "ada")
        await sign_in_and_publish(tab, "ada", "第一条 <b>微博</b>")
        await tab.get_by_role("link", name="个人资料").click()
        await expect(tab).to_have_url(f"{server.url}/user/info/ada")
        await expect(tab.locator(".timeline .body")).to_have_text(["第一条 <b>微博</b>"])
        await be_refused_a_taken_name(tab, own="ada", taken="grace")
        await get_lost(tab, server.url)

        # The operator's part: stop the server, change config.toml, start it again.
        assert server.stop() == 0
        configure(folder, mail=mail_server.settings, errors={"rehearsal_route": True})
        server = servers.quartblog(folder, f"--port={server.url.rpartition(':')[2]}")
        error_id = await meet_an_error(tab, server.url)

        eventually(lambda: f"[id {error_id}]" in server.log)
        [mail] = mail_server.wait_for(1)
        assert "博客异常" in mail.subject
        assert error_id in mail.text
        assert "GET /errors/rehearsal, user 2\n" in mail.text

        await tab.get_by_role("link", name="返回首页").click()
        await tab.get_by_role("button", name="退出").click()
        await expect(tab.get_by_role("navigation").get_by_role("link", name="登录")).to_be_visible()
        assert server.stop() == 0
        assert server.stderr == ""


async def register(tab: Page, name: str) -> None:
    await tab.get_by_role("navigation").get_by_role("link", name="注册").click()
    await tab.get_by_label("用户名").fill(name)
    await tab.get_by_label("电子邮箱").fill(f"{name}@example.com")
    await tab.get_by_label("密码", exact=True).fill(PASSWORD)
    await tab.get_by_label("确认密码").fill(PASSWORD)
    await tab.get_by_role("main").get_by_role("button", name="注册").click()
    await expect(tab.get_by_role("status")).to_have_text("祝贺，你现在已成为一个注册用户！")


async def sign_in_and_publish(tab: Page, name: str, body: str) -> None:
    await tab.get_by_label("用户名").fill(name)
    await tab.get_by_label("密码").fill(PASSWORD)
    await tab.get_by_role("main").get_by_role("button", name="登录").click()
    await tab.get_by_label("说点什么").fill(body)
    await tab.get_by_role("button", name="发布").click()
    await expect(tab.locator(".timeline .body")).to_have_text([body])


async def be_refused_a_taken_name(tab: Page, *, own: str, taken: str) -> None:
    await tab.get_by_role("link", name="编辑个人资料").click()
    name, about = tab.get_by_label("用户名"), tab.get_by_label("关于我")
    await about.fill("写程序的人")
    await name.fill(taken)
    await tab.get_by_role("button", name="提交").click()
    await expect(name).to_have_accessible_description("请使用其他用户名")
    await expect(name).to_have_value(taken)
    await expect(name).to_be_focused()
    await expect(about).to_have_value("写程序的人")
    await name.fill(own)
    await tab.get_by_role("button", name="提交").click()
    await expect(tab.get_by_role("status")).to_have_text("您的修改已保存")


async def get_lost(tab: Page, url: str) -> None:
    answer = await tab.goto(f"{url}/no/such/page")
    assert answer is not None
    assert answer.status == 404
    await expect(tab.get_by_role("heading")).to_have_text("网页未找到")
    await tab.get_by_role("link", name="返回首页").click()
    await expect(tab).to_have_url(f"{url}/")


async def meet_an_error(tab: Page, url: str) -> str:
    """Return the error id that the page shows."""
    answer = await tab.goto(f"{url}/errors/rehearsal")
    assert answer is not None
    assert answer.status == 500
    await expect(tab.get_by_role("heading")).to_have_text("发生意外错误")
    error_id = await tab.locator("code").inner_text()
    assert re.fullmatch(r"[a-z0-9]{12}", error_id)
    assert await answer.header_value("X-Error-Id") == error_id
    return error_id
