"""The system's Chromium -> a walk over every page of a site."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, async_playwright

from tests.support.client import PASSWORD
from tests.support.processes import Server

# The flags stop Chromium's requests to Google at every start; as root it cannot start its sandbox.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OPEN_PAGES = ["/", "/login", "/register", "/no/such/page", "/errors/rehearsal"]

# Receives each page of a walk and a name for it.
Look = Callable[[Page, str], Awaitable[None]]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium without a window. Raise AssertionError if it is not installed."""
    path = shutil.which("chromium")
    assert path, "these tests need the system's Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


async def walk(tab: Page, site: Server, person: str, look: Look) -> None:
    """Call `look` for every page of a populated site: anonymous, then signed in, last a refused profile edit."""
    for path in OPEN_PAGES:
        await tab.goto(site.url + path)
        await look(tab, path)
    await sign_in(tab, site, person)
    for path, name in (("/", "/ signed in"), (f"/user/info/{person}", "/user/info"), ("/user/edit", "/user/edit")):
        await tab.goto(site.url + path)
        await look(tab, name)
    await tab.locator("[name=username]").fill("taken")
    await tab.locator("main form button").click()
    await tab.locator(".wrong").wait_for()
    await look(tab, "/user/edit refused")


async def sign_in(tab: Page, site: Server, name: str) -> None:
    """Sign in through the form."""
    await tab.goto(site.url + "/login")
    await tab.locator("[name=username]").fill(name)
    await tab.locator("[name=password]").fill(PASSWORD)
    await tab.locator("main form button").click()
    await tab.locator("main form [name=body]").wait_for()
