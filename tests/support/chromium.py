"""The system's Chromium -> a walk over every page of a site."""

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, async_playwright

from tests.support.client import PASSWORD
from tests.support.people import ADMIN
from tests.support.processes import PATIENCE, Server
from tests.support.troubles import EARLIEST, HOSTILE, LONG, MUTED, PLAIN, RESOLVED

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

OPERATIONS = {
    "errors": "errors",
    "errors, all": "errors?state=all&order=count",
    "errors, none": "errors?q=nothing+like+it",
    "error": f"errors?q={PLAIN}",
    "error, of an earlier id": f"errors?q={EARLIEST}",
    "error, resolved": f"errors?q={RESOLVED}",
    "error, muted": f"errors?q={MUTED}",
    "error, hostile": f"errors?q={HOSTILE}",
    "error, long": f"errors?q={LONG}",
    "delivery": "delivery",
    "delivery, refreshed": "delivery?refresh=60",
    "entrance": "enter?key=of-nothing",
}
"""Pages below /operations/ of a populated site, by name."""

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
    """Call `look` for every page of a populated site: anonymous, signed in, then as an administrator."""
    for path in OPEN_PAGES:
        await tab.goto(site.url + path)
        await look(tab, path)
    error_id = await tab.locator("code").inner_text()
    await sign_in(tab, site, person)
    own = {"/": "/ signed in", f"/user/info/{person}": "/user/info", "/account": "/account", "/user/edit": "/user/edit"}
    for path, name in own.items():
        await tab.goto(site.url + path)
        await look(tab, name)
    await tab.locator("[name=username]").fill("taken")
    await tab.locator("main form button").click()
    await tab.locator(".wrong").wait_for()
    await look(tab, "/user/edit refused")
    await tab.context.clear_cookies()
    await sign_in(tab, site, ADMIN)
    for name, path in OPERATIONS.items():
        await tab.goto(f"{site.url}/operations/{path}")
        await look(tab, name)
    await tab.locator("main form button").click()
    await tab.locator(".trouble").wait_for()
    await look(tab, "entrance, refused")
    await tab.goto(f"{site.url}/operations/delivery")
    await unfold(tab)
    await look(tab, "delivery, unfolded")
    await find(tab, site, error_id)
    await unfold(tab)
    await look(tab, "error, with its frames")
    await tab.locator("[value=note]").click()
    await tab.locator(".notice.error").wait_for()
    await look(tab, "error, note refused")


async def unfold(tab: Page) -> None:
    """Open what the page has folded, which is something."""
    await tab.locator("summary").first.wait_for()
    for summary in await tab.locator("summary").all():
        await summary.click()


async def find(tab: Page, site: Server, error_id: str) -> None:
    """Go to the group of an error that may not be stored yet."""
    deadline = time.monotonic() + PATIENCE
    while error_id not in tab.url or "/operations/errors/" not in tab.url:
        assert time.monotonic() < deadline, f"nothing has the id {error_id}"
        await tab.goto(f"{site.url}/operations/errors?q={error_id}")


async def sign_in(tab: Page, site: Server, name: str) -> None:
    """Sign in through the form."""
    await tab.goto(site.url + "/login")
    await tab.locator("[name=username]").fill(name)
    await tab.locator("[name=password]").fill(PASSWORD)
    await tab.locator("main form button").click()
    await tab.locator("main form [name=body]").wait_for()
