"""Test -> a visitor over a real connection, who requests pages, submits forms, keeps cookies, follows no redirect."""

import urllib.parse
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from urllib.request import HTTPCookieProcessor, HTTPErrorProcessor, ProxyHandler, Request, build_opener

from werkzeug.datastructures import Headers

from tests.support.browsing import FROM_OURSELVES, Page

# Seconds to wait for an answer: longer than the timeout of any mail server in the tests.
PATIENCE = 60.0
PASSWORD = "correct horse battery"


class _AsItIs(HTTPErrorProcessor):
    """Returns every response unchanged, redirects and errors too."""

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:
        return response


class Client:
    """One browser with its cookies. Its methods raise OSError if the server does not answer."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.headers = {"Accept-Language": "zh-CN"} | {name.replace("_", "-"): text for name, text in headers.items()}
        self._jar = CookieJar()
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(self._jar), _AsItIs())

    @property
    def cookies(self) -> str:
        """The value of the Cookie header."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)

    def get(self, path: str, **headers: str) -> Page:
        """Request a page."""
        return self.send("GET", path, headers=headers)

    def submit(self, path: str, **fields: str) -> Page:
        """Submit a form of one of the site's pages to `path`."""
        return self.send("POST", path, form=fields, headers=FROM_OURSELVES)

    def send(
        self,
        method: str,
        path: str,
        *,
        form: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> Page:
        """Send a request; unlike `submit`, say nothing of where it comes from."""
        body = urllib.parse.urlencode(form).encode() if form is not None else None
        sent = self.headers | {name.replace("_", "-"): text for name, text in (headers or {}).items()}
        request = Request(self.url + path, data=body, headers=sent, method=method)
        with self._opener.open(request, timeout=patience) as response:
            return Page(response.status, Headers(response.getheaders()), response.read().decode())

    def register(self, name: str) -> None:
        """Open an account."""
        answer = self.submit(
            "/register", username=name, email=f"{name}@example.com", password=PASSWORD, password2=PASSWORD
        )
        assert answer.status == 302, answer.text

    def sign_in(self, name: str) -> None:
        """Sign in to an account that `register` created."""
        answer = self.submit("/login", username=name, password=PASSWORD)
        assert answer.status == 302, answer.text
