"""Which names the site answers to, and whom it believes about them."""

from itertools import product

import pytest
from quart import Quart, request

from quartblog.settings import Settings
from tests.support.asgi import ask
from tests.support.browsing import Page, Serve, Visitor
from tests.support.log_file import LogFile

HOSTS = ["blog.example.org", "[::1]", "192.0.2.7"]


async def ask_as(app: Quart, host: str, path: str = "/") -> Page:
    return await ask(app, path, headers=[(b"Host", host.encode("latin-1"))])


async def test_our_names_are_answered(serve: Serve) -> None:
    app = await serve(security={"allowed_hosts": HOSTS})

    for host in (
        *(
            "blog.example.org",
            "blog.example.org:5000",
            "BLOG.Example.ORG",
            "blog.example.org.",
            "blog.example.org.:443",
        ),
        *("[::1]", "[::1]:5000", "192.0.2.7", "192.0.2.7:80"),
    ):
        assert (await ask_as(app, host)).status == 200, host


async def test_other_names_are_refused(serve: Serve) -> None:
    app = await serve(security={"allowed_hosts": HOSTS})

    for host in (
        *("evil.example", "", "blog.example.org.evil.example", "evil.example:blog.example.org"),
        *("blog.example.org@evil.example", "sub.blog.example.org", "[::2]", "::1", "[", "\xff"),
        *("blog.example.org, evil.example", "blog.example.org.."),
    ):
        page = await ask_as(app, host)

        assert page.status == 400, host
        assert "本站不使用这个域名" in page.text, host
        assert "Content-Security-Policy" in page.headers, host


async def test_an_operator_finds_the_name_that_is_refused_in_the_log(serve: Serve, settings: Settings) -> None:
    app = await serve(security={"allowed_hosts": HOSTS})
    log = LogFile(app, settings.logging.directory / settings.logging.filename)
    for host in ("127.0.0.1:5000", "evil.example", "\x1b[31m"):
        await ask_as(app, host)

    [line] = [line for line in log.text.splitlines() if "Refused a request" in line]
    assert "the host '127.0.0.1:5000': [security] allowed_hosts are 192.0.2.7, ::1, blog.example.org" in line


async def test_the_first_of_two_names_counts_everywhere(serve: Serve) -> None:
    app = await serve(security={"allowed_hosts": HOSTS})
    headers = [(b"host", b"evil.example"), (b"host", b"blog.example.org")]

    assert (await ask(app, "/", headers=headers)).status == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_may_ask_by_address(serve: Serve, path: str) -> None:
    app = await serve(security={"allowed_hosts": HOSTS})

    assert (await ask_as(app, "10.0.0.5:5000", path)).status == 200
    assert (await ask_as(app, "", path)).status == 200


@pytest.mark.parametrize("host", ["a.b.example", "10.0.0.5", "", "[::1]:5000", "localhost:5000", "xn--fiqs8s"])
async def test_without_a_list_every_name_is_answered(app: Quart, host: str) -> None:
    assert (await ask_as(app, host)).status == 200


async def test_what_cannot_be_a_name_is_refused_without_a_record(app: Quart, log: LogFile) -> None:
    hosts = ["a..b", "a..", ".", ".:5000", "x" * 64, "x" * 64 + ".example"]
    for host, path in product(hosts, ["/", "/nowhere", "/healthz"]):
        page = await ask_as(app, host, path)

        assert page.status == 400, (host, path)
        assert "本站不使用这个域名" in page.text, (host, path)
        assert log.failures == [], (host, path)


@pytest.mark.parametrize("host", ["x" * 63 + ".example:65535", ":5000", "b\xfccher.example"])
async def test_what_is_hardly_a_name_is_answered(app: Quart, host: str) -> None:
    assert (await ask_as(app, host)).status == 200


FORWARDED = [
    (b"x-forwarded-for", b"198.51.100.9, 203.0.113.5"),
    (b"x-forwarded-proto", b"http, https"),
    (b"x-forwarded-host", b"evil.example, blog.example.org"),
]


async def told(app: Quart) -> str:
    @app.get("/told")
    async def tell() -> str:
        return f"{request.scheme} {request.host} {request.remote_addr}"

    return (await ask(app, "/told", headers=FORWARDED)).text


async def test_without_a_proxy_its_headers_are_claims(serve: Serve) -> None:
    assert await told(await serve()) == "http localhost 192.0.2.1"


@pytest.mark.parametrize(
    ("proxies", "seen"),
    [
        (1, "https blog.example.org 203.0.113.5"),
        (2, "http evil.example 198.51.100.9"),
        (3, "http localhost 192.0.2.1"),
    ],
)
async def test_so_many_proxies_are_believed(serve: Serve, proxies: int, seen: str) -> None:
    assert await told(await serve(security={"trusted_proxies": proxies})) == seen


async def test_the_name_a_trusted_proxy_tells_must_be_ours(serve: Serve) -> None:
    app = await serve(security={"trusted_proxies": 1, "allowed_hosts": HOSTS})

    assert (await ask(app, "/", headers=FORWARDED)).status == 200
    assert (await ask(app, "/", headers=[(b"x-forwarded-host", b"evil.example")])).status == 400


@pytest.mark.parametrize(
    ("sent", "scheme"),
    [
        ("https", "https"),
        ("http", "http"),
        ("javascript", "http"),
        ("ftp", "http"),
        ("https, javascript", "http"),
        ("javascript, https", "https"),
        ("HTTPS", "https"),
        ("https://evil.example/", "http"),
        ("", "http"),
    ],
)
async def test_a_proxys_word_about_the_scheme_counts_where_it_can_be_one(serve: Serve, sent: str, scheme: str) -> None:
    app = await serve(security={"trusted_proxies": 1})
    app.add_url_rule("/scheme", "scheme", lambda: request.scheme)

    page = await Visitor(app).get("/scheme", X_Forwarded_Proto=sent)

    assert page.text == scheme
