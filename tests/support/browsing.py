"""Test -> a visitor inside the test's process, who requests pages, submits forms and keeps cookies."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html import unescape

from quart import Quart
from quart.typing import TestClientProtocol
from werkzeug.datastructures import Headers

from quartblog.models import User

# The password of every account that the fixtures create.
PASSWORD = "correct horse"
# What a browser adds to a form of one of the site's pages.
FROM_OURSELVES = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Page:
    """An answer: status, headers, text."""

    status: int
    headers: Headers
    text: str

    @property
    def location(self) -> str:
        """The target of a redirect, else an empty string."""
        return self.headers.get("Location", "")

    def link(self, relation: str) -> str:
        """Return the target of the link with this `rel`, or an empty string."""
        found = re.search(rf'<a rel="{relation}" href="([^"]+)"', self.text)
        return unescape(found[1]) if found else ""

    def errors_beside(self, field: str) -> str:
        """Return the error text that aria-describedby links to a field, or an empty string."""
        control = re.search(rf'<(?:input|textarea)[^>]*\bname="{field}"[^>]*>', self.text)
        assert control, f"no field {field} on this page"
        described_by = re.search(r'aria-describedby="([^"]+)"', control[0])
        texts = []
        for target in described_by[1].split() if described_by else ():
            element = re.search(rf'id="{target}"[^>]*>(.*?)</', self.text, re.DOTALL)
            assert element, f"{field} refers to {target}, which is not on the page"
            if not target.endswith("-hint"):
                texts.append(unescape(re.sub(r"<[^>]+>", "", element[1])).strip())
        return " ".join(texts)

    def value_of(self, field: str) -> str:
        """Return the value of a field."""
        if found := re.search(rf'<textarea[^>]*\bname="{field}"[^>]*>\r?\n?(.*?)</textarea>', self.text, re.DOTALL):
            return unescape(found[1])
        control = re.search(rf'<input[^>]*\bname="{field}"[^>]*>', self.text)
        assert control, f"no field {field} on this page"
        value = re.search(r'\bvalue="([^"]*)"', control[0])
        return unescape(value[1]) if value else ""


class Visitor:
    """One browser with its own cookies."""

    def __init__(self, app: Quart, **headers: str) -> None:
        self.app = app
        self.client: TestClientProtocol = app.test_client()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def get(self, path: str, **headers: str) -> Page:
        """Request a page without following redirects."""
        return await self.send("GET", path, headers=headers)

    async def submit(self, path: str, **fields: str) -> Page:
        """Submit a form of one of the site's pages to `path`."""
        return await self.send("POST", path, form=fields, headers=FROM_OURSELVES)

    async def send(
        self, method: str, path: str, *, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Page:
        """Send a request; unlike `submit`, say nothing of where it comes from."""
        sent = Headers({**self.headers, **{key.replace("_", "-"): value for key, value in (headers or {}).items()}})
        response = await self.client.open(path, method=method, form=form, headers=sent)  # type: ignore[call-arg]
        return Page(response.status_code, response.headers, await response.get_data(as_text=True))

    def cookie(self, name: str) -> str | None:
        """Return the value of the browser's cookie, or None."""
        return next((cookie.value for cookie in self.client.cookie_jar or () if cookie.name == name), None)

    def set_cookie(self, name: str, value: str) -> None:
        """Store a cookie as if an answer had set it."""
        self.client.set_cookie("localhost.local", name, value)


SignIn = Callable[[User], Awaitable[Visitor]]
Configuration = dict[str, dict[str, object]]
Serve = Callable[..., Awaitable[Quart]]
