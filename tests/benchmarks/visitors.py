"""A page -> the requests of its visitors, and what each answer must contain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPErrorProcessor, ProxyHandler, Request, build_opener

from tests.benchmarks.load import Visits
from tests.benchmarks.peers.microblogs import content

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS = 8
# A site that did not write what is there already would have nothing to do for a form that is sent twice.
TEXTS = ("About me, changed.", "About me, changed once more.")
_INPUT = re.compile(r"<input\b[^>]*>")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Page:
    """A page, or a form that is sent to it."""

    path: str
    signed_in: bool = False
    posts: range = range(0)
    """The numbers of the posts on it, in their order."""
    saves: bool = False
    """Whether it is a form that is sent."""
    site: str = "ours"
    """The site whose figure the others are compared with."""
    text: str = ""
    """A text on it."""


_NEWEST = range(content.SIZE[1] - 1, content.SIZE[1] - 1 - content.PAGE_SIZE, -1)
_ONE_PERSONS = range(content.SIZE[1] - content.SIZE[0] + 1, 0, -content.SIZE[0])
PAGES = {
    "home": Page("/", signed_in=True, posts=_NEWEST),
    "cold": Page("/", signed_in=True, posts=_NEWEST, site="cold"),
    "anonymous": Page("/", posts=_NEWEST),
    "profile": Page("/user/info/person1", signed_in=True, posts=_ONE_PERSONS[: content.PAGE_SIZE]),
    "login": Page("/login", text='name="password"'),
    "hello": Page("/hello", text="Hello, World!"),
    "save": Page("/user/edit", signed_in=True, saves=True),
}


class _AsItIs(HTTPErrorProcessor):
    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:
        return response


class Visitor:
    """One browser, which sends the hidden fields of a site's forms, whatever they are."""

    def __init__(self, url: str, name: str = "") -> None:
        """`name` is "" for a visitor who is not signed in."""
        self.url = url
        self.name = name
        self._cookies = CookieJar()
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(self._cookies), _AsItIs())

    def sign_in(self) -> Visitor:
        """Sign in by the form."""
        form = self._hidden("/login") | {"username": self.name, "password": content.PASSWORD}
        assert self._send("/login", form).status == 302, f"{self.url} lets {self.name} not in"
        return self

    def look(self, page: Page) -> tuple[int, tuple[bytes, ...]]:
        """Ask for the page once. Return its size in bytes, and what every answer like it contains.

        Raise AssertionError if it is another page than this visitor must see.
        """
        answer = self._send(page.path)
        text = answer.text
        where = f"{self.url}{page.path}"
        assert answer.status == 200, f"{where} answers {answer.status}"
        assert page.text in text, f"{where} does not show {page.text}"
        found = [int(number) for number in re.findall(r"Post number (\d+)\.", text)]
        assert found == [*page.posts], f"{where} shows other posts: {found}"
        assert text.count("<article>") == len(page.posts), f"{where} shows {text.count('<article>')} articles"
        proof = [page.text, *(f"Post number {number}." for number in {*page.posts[:1], *page.posts[-1:]})]
        if self.name:
            # The link in the navigation: the visitor's name may also be that of an author, or the start of one.
            link = re.search(rf'/user/info/{re.escape(self.name)}"[^>]*>个人资料</a>', text)
            assert link is not None, f"{where} does not know {self.name}"
            proof.append(link[0])
        elif page.path != PAGES["hello"].path:
            assert 'href="/login"' in text, f"{where} takes a stranger for somebody"
            proof.append('href="/login"')
        return len(text.encode()), tuple(part.encode() for part in proof if part)

    def request(self, page: Page) -> bytes:
        """Return the request for the page."""
        return self._head("GET", page.path)

    def saving(self, page: Page, text: str) -> bytes:
        """Return the request that saves this text about the visitor, after saving it once."""
        fields = self._hidden(page.path) | {"username": self.name, "about_me": text}
        answer = self._send(page.path, fields)
        assert (answer.status, answer.location) == (302, page.path), f"{self.url} does not save: {answer.status}"
        assert text in self._send(f"/user/info/{self.name}").text, f"{self.url} does not show what was saved"
        return self._head("POST", page.path, urlencode(fields).encode())

    def _head(self, method: str, path: str, form: bytes = b"") -> bytes:
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)
        head = [
            f"{method} {path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Accept: text/html",
            "Accept-Language: zh-CN,zh;q=0.9",
            "Sec-Fetch-Site: same-origin",
            *([f"Cookie: {cookies}"] if cookies else []),
            *(["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"] if form else []),
        ]
        return "\r\n".join([*head, "", ""]).encode() + form

    def _hidden(self, path: str) -> dict[str, str]:
        inputs = [dict(_ATTRIBUTE.findall(element)) for element in _INPUT.findall(self._send(path).text)]
        return {field["name"]: field.get("value", "") for field in inputs if field.get("type") == "hidden"}

    def _send(self, path: str, form: dict[str, str] | None = None) -> _Answer:
        body = None if form is None else urlencode(form).encode()
        headers = {"Sec-Fetch-Site": "same-origin", "Accept-Language": "zh-CN", "Accept": "text/html"}
        with self._opener.open(Request(self.url + path, body, headers), timeout=60) as response:
            return _Answer(response.status, response.headers.get("Location", ""), response.read().decode())


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    location: str
    text: str


def visits(visitors: Sequence[Visitor], page: Page) -> tuple[Visits, int]:
    """Return what these visitors ask in turn, and the bytes of the page; 0 for a form that is sent."""
    if page.saves:
        # All of them once, then all of them again: nobody saves what is there already.
        forms = tuple(visitor.saving(page, text) for text in TEXTS for visitor in visitors)
        proof = (f": {page.path}\r\n".encode(),)
        return Visits(page.path, 302, CONNECTIONS, requests=forms, proofs=(proof,) * len(forms)), 0
    sizes, proofs = zip(*(visitor.look(page) for visitor in visitors), strict=True)
    requests = tuple(visitor.request(page) for visitor in visitors)
    return Visits(page.path, 200, CONNECTIONS, requests=requests, proofs=proofs), max(sizes)


def several(visitor: Visitor, pages: Sequence[Page]) -> Visits:
    """Return what one visitor asks who takes these pages in turn."""
    proofs = tuple(visitor.look(page)[1] for page in pages)
    return Visits(pages[0].path, 200, CONNECTIONS, requests=tuple(map(visitor.request, pages)), proofs=proofs)
