"""How much of a request is taken in: 64 KiB, in 15 seconds."""

import tracemalloc
from collections.abc import Iterator
from itertools import product

import pytest
from quart import Quart, request

from quartblog.web.bodies import MAX_BODY
from tests.support.asgi import RawHeaders, ask
from tests.support.browsing import FROM_OURSELVES, Page, Visitor
from tests.support.log_file import LogFile

URLENCODED = (b"content-type", b"application/x-www-form-urlencoded")
OURS = (b"sec-fetch-site", b"same-origin")
MULTIPART = (b"content-type", b"multipart/form-data; boundary=x")
FIELD = b'--x\r\nContent-Disposition: form-data; name="body"\r\n\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="body"; filename="a.txt"\r\n\r\n'
PARTS = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'


def assert_too_much(page: Page, sent: str = "") -> None:
    assert page.status == 413, sent
    assert "提交的内容过大" in page.text, sent
    assert '<html lang="zh-Hans">' in page.text, sent


async def test_a_body_that_announces_too_much_is_refused_unread(app: Quart) -> None:
    def never() -> Iterator[bytes]:
        yield b"a"
        raise AssertionError("the body is read on")

    headers = [OURS, URLENCODED, (b"content-length", str(MAX_BODY + 1).encode())]
    page = await ask(app, "/login", method="POST", headers=headers, body=never(), complete=False)

    assert_too_much(page)


@pytest.mark.parametrize("kind", [URLENCODED, MULTIPART])
async def test_a_body_that_grows_too_large_is_refused(app: Quart, kind: tuple[bytes, bytes]) -> None:
    for first, size in product([b"", FIELD, FILE, b"--x\r\n"], [1000, 30_000, MAX_BODY + 1]):
        chunks = [first, *[b"a" * size] * (MAX_BODY // size + 1)]

        assert_too_much(
            await ask(app, "/login", method="POST", headers=[OURS, kind], body=chunks), f"{first!r} and {size}"
        )


@pytest.mark.parametrize("path", ["/whole", "/pieces"])
async def test_what_is_cut_off_is_never_taken_for_the_whole(app: Quart, path: str) -> None:
    @app.get("/whole")
    async def whole() -> str:
        return str(len(await request.get_data()))

    @app.get("/pieces")
    async def pieces() -> str:
        return str(sum([len(piece) async for piece in request.body]))

    fits = await ask(app, path, body=[b"a" * 1024] * 64)
    over = await ask(app, path, body=[*[b"a" * 1024] * 64, b"a"])

    assert (fits.status, fits.text) == (200, str(MAX_BODY))
    assert_too_much(over)


async def test_many_small_parts_are_refused(app: Quart) -> None:
    page = await ask(app, "/login", method="POST", headers=[OURS, MULTIPART], body=[PARTS] * 5000)

    assert_too_much(page)


async def test_64_kibibytes_are_taken(app: Quart) -> None:
    start = b"username=ada&padding="
    headers = [OURS, URLENCODED]

    fits = await ask(app, "/login", method="POST", headers=headers, body=[start.ljust(MAX_BODY, b"a")])
    over = await ask(app, "/login", method="POST", headers=headers, body=[start.ljust(MAX_BODY + 1, b"a")])

    assert (fits.status, over.status) == (200, 413)


async def test_an_endless_body_takes_little_memory(app: Quart) -> None:
    chunk = b"a" * 65_000
    await ask(app, "/login", method="POST", headers=[OURS, MULTIPART], body=[FIELD, chunk])

    tracemalloc.start()
    try:
        page = await ask(app, "/login", method="POST", headers=[OURS, MULTIPART], body=[FIELD, *[chunk] * 1000])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert_too_much(page)
    assert peak < 2**20


@pytest.mark.parametrize("headers", [[URLENCODED], [MULTIPART], [(b"content-length", b"400"), URLENCODED]])
async def test_a_body_that_never_ends_is_given_up(app: Quart, headers: RawHeaders, log: LogFile) -> None:
    assert app.config["BODY_TIMEOUT"] == 15
    app.config["BODY_TIMEOUT"] = 0.01

    page = await ask(app, "/login", method="POST", headers=[OURS, *headers], body=[b"a"], complete=False)

    assert page.status == 408
    assert "请求超时" in page.text
    assert log.failures == []


async def test_a_body_where_none_is_wanted_changes_nothing(app: Quart) -> None:
    page = await ask(app, "/hello", body=[b"a" * 10_000] * 100)

    assert (page.status, page.text) == (200, "Hello, World!")


async def test_64_kibibytes_of_fields_are_read(visitor: Visitor) -> None:
    response = await visitor.client.post(
        "/login",
        data="username=ada&" + "a=&" * 20_000,
        headers={"Content-Type": "application/x-www-form-urlencoded"} | FROM_OURSELVES,
    )

    assert response.status_code == 200


@pytest.mark.parametrize("name", ["a" * 300, "字" * 100, "a/" * 2000, "%00", "..%2F..%2Fapp.py"])
async def test_a_file_that_cannot_be_there_is_a_404(visitor: Visitor, name: str) -> None:
    assert (await visitor.get(f"/static/{name}")).status == 404
