"""The system's Chromium against a real server with two workers.

A plain run reads this file where Playwright is not installed, so nothing here imports it before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest
import pytest_asyncio

from tests.support.people import populate
from tests.support.processes import Server, Servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import Browser, Page


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even read the tests where they are left out."""
    return "not browser" in config.option.markexpr or None


class OpenTab(Protocol):
    """Opens a window of its own, with its own cookies; options are those of a Playwright context."""

    async def __call__(self, **options: Any) -> Page:
        """A browser on a desktop that asks for Chinese, unless the options say otherwise."""
        ...


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A blog that several tests share: each brings its own people."""
    with Servers(tmp_path_factory.mktemp("browser")) as servers:
        yield servers.quartblog(servers.site(errors={"rehearsal_route": True}))


@pytest.fixture(scope="session")
def person(site: Server) -> str:
    """The name of somebody with the longest of everything."""
    return populate(site)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests of this process."""
    from tests.support.chromium import chromium  # noqa: PLC0415 - see above

    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def open_tab(browser: Browser) -> AsyncIterator[OpenTab]:
    """Windows that close with the test."""
    contexts = []

    async def open_tab(**options: Any) -> Page:
        context = await browser.new_context(
            **{"locale": "zh-CN", "viewport": {"width": 1280, "height": 800}, **options}
        )
        contexts.append(context)
        return await context.new_page()

    yield open_tab
    for context in contexts:
        await context.close()
