"""`python -m tests.browser.screenshots FOLDER`: pages on a phone and a desktop, light and dark, zh and en, to look at.

The pages of a full site, and those of administrators of a site that is empty, has one error, and is broken.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import product
from pathlib import Path

from playwright.async_api import Browser, Page

from tests.support.chromium import chromium, find, sign_in, walk
from tests.support.moving import moved_away
from tests.support.people import ADMIN, appoint, populate
from tests.support.processes import Server, Servers

WIDTHS = (360, 1280)
SCHEMES = ("light", "dark")
LOCALES = ("zh-CN", "en-GB")


@asynccontextmanager
async def tabs(browser: Browser) -> AsyncIterator[dict[str, Page]]:
    """Open a tab of its own for each kind of browser, by what pictures of it are called."""
    async with AsyncExitStack() as stack:
        found = {}
        for width, scheme, locale in product(WIDTHS, SCHEMES, LOCALES):
            context = await browser.new_context(
                locale=locale,
                color_scheme="dark" if scheme == "dark" else "light",
                viewport={"width": width, "height": 800},
            )
            stack.push_async_callback(context.close)
            found[f"{width}-{scheme}-{locale[:2]}"] = await context.new_page()
        yield found


async def keep(folder: Path, kind: str, tab: Page, name: str) -> None:
    """Leave a picture of the whole page in the folder."""
    words = name.strip("/ ").replace(",", "").replace("/", "-").replace(" ", "-") or "home"
    await tab.screenshot(path=folder / f"{words}-{kind}.png", full_page=True)


async def take_full(site: Server, person: str, folder: Path) -> None:
    """Take the pictures of a full site."""
    async with chromium() as browser, tabs(browser) as found:
        for kind, tab in found.items():
            await walk(tab, site, person, partial(keep, folder, kind))


async def take_broken(site: Server, folder: Path) -> None:
    """Take the pictures of a site that has no error, then one, then loses its database, then its outbox."""
    async with chromium() as browser, tabs(browser) as found:

        async def look(name: str, **pages: str) -> None:
            for kind, tab in found.items():
                for page, path in pages.items():
                    await tab.goto(site.url + path)
                    await keep(folder, kind, tab, f"{name} {page}")

        pages = {"errors": "/operations/errors", "delivery": "/operations/delivery"}
        for tab in found.values():
            await sign_in(tab, site, ADMIN)
        await look("empty", **pages)
        quoted = site.client().get("/errors/rehearsal").headers["X-Error-Id"]
        for tab in found.values():
            await find(tab, site, quoted)
        group = tab.url.removeprefix(site.url)
        await look("one", **pages, error=group)
        with moved_away(site.folder / "instance" / "quartblog.sqlite3"):
            await look("without-database", **pages, error=group, home="/")
        with moved_away(site.folder / "instance" / "outbox.sqlite3"):
            for _ in range(10):
                # Each worker has some in its memory.
                site.client().get("/errors/rehearsal")
            await look("without-outbox", **pages, error=group)


def main(folder: Path) -> None:
    """Serve two blogs, and take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, Servers(Path(scratch)) as servers:
        site = servers.quartblog(servers.site(errors={"rehearsal_route": True}))
        asyncio.run(take_full(site, populate(site), folder))
        site.stop()
        site = servers.quartblog(servers.site("broken", errors={"rehearsal_route": True}))
        appoint(site)
        asyncio.run(take_broken(site, folder))
    print(f"{len([*folder.glob('*.png')])} pictures in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
