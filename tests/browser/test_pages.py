"""Every page, as people with different browsers, eyes and hands meet it."""

from typing import Literal

import pytest
from playwright.async_api import ConsoleMessage, Page, expect

from tests.browser.conftest import OpenTab
from tests.support.chromium import sign_in, walk
from tests.support.client import PASSWORD
from tests.support.processes import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CONTROLS_WITHOUT_A_NAME = """
    [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a, summary, nav')]
        .filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim() || e.ariaHidden === 'true'))
        .map(e => e.outerHTML)
"""
FIELDS_WITHOUT_A_LABEL = """
    [...document.querySelectorAll('input:not([type=hidden]), textarea')].filter(e => !e.labels.length)
        .map(e => e.outerHTML)
"""
PICTURES_WITHOUT_WORDS = """
    [...document.querySelectorAll('img:not([alt]), svg:not([aria-hidden]):not([role=img])')].map(e => e.outerHTML)
"""
IDS_TAKEN_TWICE = """
    [...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)
"""
DESCRIPTIONS_THAT_ARE_NOT_THERE = """
    [...document.querySelectorAll('[aria-describedby]')].flatMap(e => e.getAttribute('aria-describedby').split(' '))
        .filter(id => !document.getElementById(id))
"""


# WCAG 2.5.8; a link among words is as high as their lines.
TARGETS_TOO_SMALL = """
    [...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea, summary')]
        .filter(e => e.checkVisibility())
        .filter(e => getComputedStyle(e).display !== 'inline'
            || e.parentElement.textContent.trim() === e.textContent.trim())
        .map(e => [e.getBoundingClientRect(), e])
        .filter(([box]) => Math.min(box.width, box.height) < 24)
        .map(([box, e]) => `${box.width} x ${box.height}: ${e.outerHTML.slice(0, 200)}`)
"""


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
async def test_no_page_scrolls_sideways(site: Server, person: str, open_tab: OpenTab, width: int) -> None:
    async def look(tab: Page, name: str) -> None:
        wider = await tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{name} can be scrolled sideways by {wider} px"

    tab = await open_tab(viewport={"width": width, "height": 740}, has_touch=width < 700)

    await walk(tab, site, person, look)


@pytest.mark.parametrize("width", [360, 1280])
async def test_a_finger_meets_what_it_aims_at(site: Server, person: str, open_tab: OpenTab, width: int) -> None:
    small: dict[str, str] = {}

    async def look(tab: Page, name: str) -> None:
        for target in await tab.evaluate(TARGETS_TOO_SMALL):
            small.setdefault(target, name)

    await walk(await open_tab(viewport={"width": width, "height": 740}), site, person, look)

    assert not small, "\n".join(f"{name}: {target}" for target, name in small.items())


@pytest.mark.parametrize("width", [320, 360, 768])
async def test_the_longest_name_leaves_room_for_the_page(
    site: Server, person: str, open_tab: OpenTab, width: int
) -> None:
    tab = await open_tab(viewport={"width": width, "height": 740})
    await tab.goto(f"{site.url}/user/info/{person}")

    lines = await tab.evaluate(
        "(h => Math.round(h.offsetHeight / parseFloat(getComputedStyle(h).lineHeight)))(document.querySelector('h1'))"
    )

    assert lines <= 4


@pytest.mark.parametrize(("locale", "language"), [("zh-CN", "zh-Hans"), ("en-GB", "en")])
async def test_every_page_can_be_heard_instead_of_seen(
    site: Server, person: str, open_tab: OpenTab, locale: str, language: str
) -> None:
    async def look(tab: Page, name: str) -> None:
        assert await tab.locator("html").get_attribute("lang") == language, name
        assert await tab.title(), name
        assert await tab.locator("h1").count() == 1, name
        assert await tab.locator("main").count() == 1, name
        for fault in (
            CONTROLS_WITHOUT_A_NAME,
            FIELDS_WITHOUT_A_LABEL,
            PICTURES_WITHOUT_WORDS,
            IDS_TAKEN_TWICE,
            DESCRIPTIONS_THAT_ARE_NOT_THERE,
        ):
            assert await tab.evaluate(fault) == [], f"{name}: {fault}"

    await walk(await open_tab(locale=locale), site, person, look)


async def test_nothing_is_loaded_from_elsewhere_and_no_policy_is_broken(
    site: Server, person: str, open_tab: OpenTab
) -> None:
    tab = await open_tab()
    asked: list[str] = []
    complaints: list[str] = []
    shown: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # Chromium calls an answer of 400 and more an error of the page; those pages are what is looked at.
        if message.type in {"error", "warning"} and "the server responded with a status of" not in message.text:
            complaints.append(message.text)

    async def look(tab: Page, name: str) -> None:
        shown.append(name)

    tab.context.on("request", lambda request: asked.append(request.url))
    tab.on("console", note)
    await walk(tab, site, person, look)

    assert [url for url in asked if not url.startswith((f"{site.url}/", "data:"))] == []
    assert any("/static/quartblog.css" in url for url in asked)
    assert len(shown) > 5
    assert complaints == []


async def test_everything_works_without_javascript(site: Server, open_tab: OpenTab) -> None:
    tab = await open_tab(java_script_enabled=False)
    await tab.goto(f"{site.url}/register")
    await tab.locator("[name=username]").fill("plain")
    await tab.locator("[name=email]").fill("plain@example.com")
    await tab.locator("[name=password]").fill(PASSWORD)
    await tab.locator("[name=password2]").fill(PASSWORD)
    await tab.locator("main form button").click()
    await sign_in(tab, site, "plain")
    await tab.locator("[name=body]").fill("没有脚本也行")
    await tab.locator("main form button").click()

    await expect(tab.locator(".timeline .body").first).to_have_text("没有脚本也行")
    await tab.get_by_role("button", name="退出").click()
    await expect(tab.get_by_role("navigation").get_by_role("link", name="登录")).to_be_visible()


async def test_an_english_browser_is_answered_in_english(site: Server, open_tab: OpenTab) -> None:
    tab = await open_tab(locale="en-GB")

    await tab.goto(f"{site.url}/login")
    await tab.get_by_label("Username").fill("nobody")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("main").get_by_role("button", name="Sign in").click()
    await expect(tab.get_by_role("alert")).to_have_text("Wrong username or password")

    await tab.goto(f"{site.url}/no/such/page")
    await expect(tab.get_by_role("heading")).to_have_text("Page not found")
    await expect(tab.locator("html")).to_have_attribute("lang", "en")
    await tab.goto(f"{site.url}/errors/rehearsal")
    await expect(tab.locator(".reference")).to_contain_text("Error id")


async def test_the_keyboard_is_enough_to_sign_in_and_shows_where_it_is(site: Server, open_tab: OpenTab) -> None:
    site.client().register("keys")
    tab = await open_tab()
    await tab.goto(site.url)

    await reach(tab, "/login")
    await tab.keyboard.press("Enter")
    await tab.wait_for_url("**/login")
    await reach(tab, "username")
    await tab.keyboard.type("keys")
    await reach(tab, "password")
    await tab.keyboard.type(PASSWORD)
    await reach(tab, "remember_me")
    await tab.keyboard.press("Space")
    await expect(tab.locator("[name=remember_me]")).to_be_checked()
    await tab.keyboard.press("Enter")

    await expect(tab.locator("h1")).to_contain_text("keys")


@pytest.mark.parametrize(("scheme", "darkest", "lightest"), [("light", 200, 255), ("dark", 0, 60)])
async def test_the_pages_are_as_light_or_dark_as_the_browser_asks(
    site: Server, open_tab: OpenTab, scheme: Literal["light", "dark"], darkest: int, lightest: int
) -> None:
    tab = await open_tab(color_scheme=scheme)
    await tab.goto(f"{site.url}/login")

    paper = await tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")

    assert darkest <= sum(paper[:3]) / 3 <= lightest


async def reach(tab: Page, wanted: str) -> None:
    """Press Tab until the control with this name or address is reached; each stop on the way must be seen."""
    for _ in range(20):
        await tab.keyboard.press("Tab")
        name, outline = await tab.evaluate(
            """() => {
                const e = document.activeElement;
                return [e.name || e.getAttribute('href') || '', getComputedStyle(e).outlineStyle];
            }"""
        )
        assert outline not in {"none", "hidden"}, f"nothing shows that {name!r} has the focus"
        if name == wanted:
            return
    pytest.fail(f"Tab does not lead to {wanted}")
