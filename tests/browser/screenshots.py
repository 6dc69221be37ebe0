"""`python -m tests.browser.screenshots FOLDER`: every page on a phone and a desktop, light and dark, to look at."""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page

from tests.support.chromium import chromium, walk
from tests.support.people import populate
from tests.support.processes import Server, Servers

WIDTHS = (360, 1280)
SCHEMES = ("light", "dark")


async def take(site: Server, person: str, folder: Path) -> int:
    """Leave the pictures in the folder, which is there, and return how many there are."""
    taken = 0
    async with chromium() as browser:
        for scheme in SCHEMES:
            for width in WIDTHS:
                context = await browser.new_context(
                    locale="zh-CN",
                    color_scheme="dark" if scheme == "dark" else "light",
                    viewport={"width": width, "height": 800},
                )

                async def keep(tab: Page, name: str, kind: str = f"{width}-{scheme}") -> None:
                    nonlocal taken
                    words = name.strip("/ ").replace("/", "-").replace(" ", "-") or "home"
                    await tab.screenshot(path=folder / f"{words}-{kind}.png")
                    taken += 1

                await walk(await context.new_page(), site, person, keep)
                await context.close()
    return taken


def main(folder: Path) -> None:
    """Serve a blog of its own, and take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, Servers(Path(scratch)) as servers:
        site = servers.quartblog(servers.site(errors={"rehearsal_route": True}))
        taken = asyncio.run(take(site, populate(site), folder))
    print(f"{taken} pictures in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
