"""Nothing a stranger sends makes the site fail, or call the operator."""

import asyncio
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from quart import Quart

from quartblog.app import create_app
from quartblog.settings import Settings
from tests.support.asgi import RawHeaders, ask
from tests.support.browsing import Configuration, Visitor
from tests.support.log_file import LogFile

MULTIPART = b"multipart/form-data; boundary=x"
DISPOSITION = b'Content-Disposition: form-data; name="'
KNOWN_PATHS = ["/", "/login", "/logout", "/register", "/user/edit", "/user/info/ada", "/hello", "/static/quartblog.css"]
KNOWN_HEADERS = [
    b"accept",
    b"accept-language",
    b"content-length",
    b"content-type",
    b"cookie",
    b"host",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"range",
    b"referer",
    b"sec-fetch-site",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
]
KNOWN_VALUES = [
    b"application/json",
    b"application/x-www-form-urlencoded",
    MULTIPART,
    b"multipart/form-data; boundary=\xff",
    b"text/html;q=zz",
    b"en;q=1e999, zh;q=-1",
    b"bytes=0-,5-2",
    b"bytes=-0",
    b"quartblog=x.y.z; quartblog_login=a.b.c",
    b"-1",
    b"99999999999999999999",
    b"[::1",
    b"a..b",
]

# h11 and h2 hand on visible ASCII and what is above it; Hypercorn replaces what does not decode.
paths = st.sampled_from(KNOWN_PATHS) | st.binary(max_size=400).map(lambda raw: unquote("/" + raw.decode("latin-1")))
values = st.sampled_from(KNOWN_VALUES) | st.binary(max_size=80).map(lambda raw: raw.translate(None, b"\r\n\x00"))
headers = st.lists(st.tuples(st.sampled_from(KNOWN_HEADERS), values), max_size=5)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
bodies = st.lists(
    st.binary(max_size=200)
    | st.sampled_from([b"body=", b"&", b"=", b"%", b"%ff", b"--x", b"\r\n", DISPOSITION])
    | st.just(b"a" * 40_000),
    max_size=5,
)


@pytest.fixture
def loop_and_app(configuration: Configuration) -> Iterator[tuple[asyncio.Runner, Quart]]:
    """An app and the loop it runs in: hypothesis calls a function many times, not a coroutine."""
    security = configuration["security"] | {"trusted_proxies": 1}
    app = create_app(Settings.model_validate(configuration | {"security": security}))
    with asyncio.Runner() as runner:
        running = app.test_app()
        runner.run(running.startup())
        yield runner, app
        runner.run(running.shutdown())


@hypothesis_settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(method=methods, path=paths, query=st.binary(max_size=60), sent=headers, body=bodies)
def test_nothing_sent_makes_the_site_fail(
    *,
    loop_and_app: tuple[asyncio.Runner, Quart],
    method: str,
    path: str,
    query: bytes,
    sent: RawHeaders,
    body: list[bytes],
) -> None:
    runner, app = loop_and_app
    page = runner.run(ask(app, path, method=method, query=query, headers=sent, body=body))

    assert page.status < 500
    if method not in {"HEAD", "OPTIONS"} and page.status != 304:
        assert page.text
    assert page.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "?",
        "http://[",
        "http://[/",
        "http://blog.example.org",
        "http://blog.example.org/hello",
        "x:80",
        "//x//y",
    ],
)
async def test_a_target_that_is_no_path_is_answered(app: Quart, log: LogFile, target: str) -> None:
    page = await ask(app, target)

    assert page.status in {200, 404}
    assert log.failures == []


async def test_a_whole_address_as_target_means_its_path(app: Quart) -> None:
    assert (await ask(app, "http://blog.example.org/hello")).text == "Hello, World!"


@pytest.mark.parametrize(
    "query", [b"\xff\xfe", b"before=\xe4\xb8", b"%", b"%zz=%&&&=", b"before=%ff", b"\x00", b"a" * 9000]
)
async def test_a_query_that_does_not_decode_is_answered(app: Quart, query: bytes) -> None:
    assert (await ask(app, "/", query=query)).status == 200
    assert (await ask(app, "/user/edit", query=query)).status == 302


@pytest.mark.parametrize("path", ["/%FF", "/%00", "/%0d%0aX:1", "/user/info/%C0%AF", "/user/info/%E2%80%AE", "/\u202e"])
async def test_a_path_that_does_not_decode_is_a_404(visitor: Visitor, log: LogFile, path: str) -> None:
    assert (await visitor.get(path)).status == 404
    assert log.failures == []
