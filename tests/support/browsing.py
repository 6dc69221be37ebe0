"""A visitor as the tests see one: asks for pages, fills in forms, keeps cookies."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html import unescape

from quart import Quart
from quart.typing import TestClientProtocol
from werkzeug.datastructures import Headers

from quartblog.models import User

# The password of every account the fixtures make.
PASSWORD = "correct horse"


@dataclass(frozen=True)
class Page:
    """An answer: status, headers, text."""

    status: int
    headers: Headers
    text: str

    @property
    def location(self) -> str:
        """Where a redirect leads, empty where it is none."""
        return self.headers.get("Location", "")

    @property
    def csrf_token(self) -> str:
        """The token of the first form on the page."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.text)
        assert found, f"no form on this page: {self.text}"
        return found[1]

    def link(self, relation: str) -> str:
        """Where the link with this `rel` leads, empty where there is none."""
        found = re.search(rf'<a rel="{relation}" href="([^"]+)"', self.text)
        return unescape(found[1]) if found else ""

    def errors_beside(self, field: str) -> str:
        """The explanation tied to a field by aria-describedby, empty where there is none."""
        control = re.search(rf'<(?:input|textarea)[^>]*\bname="{field}"[^>]*>', self.text)
        assert control, f"no field {field} on this page"
        described_by = re.search(r'aria-describedby="([^"]+)"', control[0])
        texts = []
        for target in described_by[1].split() if described_by else ():
            element = re.search(rf'id="{target}"[^>]*>(.*?)</', self.text, re.DOTALL)
            assert element, f"{field} refers to {target}, which is not on the page"
            texts.append(unescape(re.sub(r"<[^>]+>", "", element[1])).strip())
        return " ".join(texts)

    def value_of(self, field: str) -> str:
        """What stands in a field."""
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
        """Ask for a page; redirects are not followed."""
        return await self.send("GET", path, headers=headers)

    async def submit(self, path: str, *, form_on: str | None = None, **fields: str) -> Page:
        """Open the page with the form, fill it in, and send it to `path`."""
        token = (await self.get(form_on or path)).csrf_token
        return await self.send("POST", path, form={"csrf_token": token, **fields})

    async def send(
        self, method: str, path: str, *, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Page:
        """Send a request as it is."""
        sent = Headers({**self.headers, **{key.replace("_", "-"): value for key, value in (headers or {}).items()}})
        response = await self.client.open(path, method=method, form=form, headers=sent)  # type: ignore[call-arg]
        return Page(response.status_code, response.headers, await response.get_data(as_text=True))

    def cookie(self, name: str) -> str | None:
        """The value of a cookie this browser keeps, None where it has none of that name."""
        return next((cookie.value for cookie in self.client.cookie_jar or () if cookie.name == name), None)

    def set_cookie(self, name: str, value: str) -> None:
        """Keep a cookie, as if an answer had set it."""
        self.client.set_cookie("localhost.local", name, value)


SignIn = Callable[[User], Awaitable[Visitor]]
Configuration = dict[str, dict[str, object]]
Serve = Callable[..., Awaitable[Quart]]
