"""axe-core finds nothing on any page: in both languages, in light and dark, on a phone and a desktop."""

import os
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page

from tests.browser.conftest import OpenTab
from tests.support.chromium import walk
from tests.support.processes import Server

AXE = os.environ.get("AXE_CORE", "")
"""The path of axe.min.js."""
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (360, 1280)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not AXE, reason="AXE_CORE does not name axe.min.js, see docs/development.md"),
]

VIOLATIONS = """
    async () => {
        const values = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
        const found = await axe.run(document, {runOnly: {type: 'tag', values}, resultTypes: ['violations']});
        return found.violations.flatMap(rule => rule.nodes.map(
            node => `${rule.id}: ${node.target.join(' ').slice(0, 200)}: ${node.any.concat(node.all, node.none).map(
                check => check.message).join('; ')}`));
    }
"""


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core as JavaScript."""
    return Path(AXE).read_text("utf-8")


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
async def test_axe_finds_nothing(site: Server, person: str, open_tab: OpenTab, axe: str, locale: str) -> None:
    found: dict[str, list[str]] = {}

    async def look(tab: Page, name: str) -> None:
        # The policy of these pages forbids scripts. It does not bind what Playwright evaluates, so it stays in force.
        await tab.evaluate(axe)
        for scheme in SCHEMES:
            await tab.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                await tab.set_viewport_size({"width": width, "height": 800})
                for violation in await tab.evaluate(VIOLATIONS):
                    found.setdefault(violation, []).append(f"{name}, {scheme}, {width}")

    # With reduced motion colours change at once; halfway, axe would measure another contrast.
    await walk(await open_tab(locale=locale, reduced_motion="reduce"), site, person, look)

    assert not found, "\n".join(f"{violation} ({len(where)}: {where[0]})" for violation, where in found.items())
