"""`python -m tests.browser.readme_pictures`: a served blog -> the two pictures in docs/images/."""

import asyncio
import tempfile
from pathlib import Path

from tests.support.chromium import chromium, sign_in
from tests.support.processes import ROOT, Server, Servers

FOLDER = ROOT / "docs" / "images"
POSTS = (
    ("ada", "第一条微博：引擎今天算出了伯努利数。"),
    ("linus", "谁有空一起看看新的内核补丁？"),
    ("grace", "Found the bug today: it was a moth."),
    ("ada", "下午在图书馆，欢迎来讨论。"),
)


def publish(site: Server) -> None:
    """Register the authors and publish their posts."""
    authors = {}
    for name in {author for author, _ in POSTS}:
        authors[name] = site.client()
        authors[name].register(name)
        authors[name].sign_in(name)
    for author, body in POSTS:
        authors[author].submit("/", body=body)


async def take(site: Server) -> None:
    """Write home.png and failure.png."""
    async with chromium() as browser:
        context = await browser.new_context(locale="zh-CN", viewport={"width": 760, "height": 660})
        tab = await context.new_page()
        await sign_in(tab, site, "ada")
        for path, name in (("/", "home"), ("/errors/rehearsal", "failure")):
            await tab.goto(site.url + path)
            await tab.screenshot(path=FOLDER / f"{name}.png")


def main() -> None:
    """Serve a blog of its own with a mail server, which no mail reaches, and take the pictures."""
    mail = {"server": "127.0.0.1", "port": 9, "admins": ["ops@example.org"]}
    with tempfile.TemporaryDirectory() as scratch, Servers(Path(scratch)) as servers:
        site = servers.quartblog(servers.site(mail=mail, errors={"rehearsal_route": True}))
        publish(site)
        asyncio.run(take(site))


if __name__ == "__main__":
    main()
