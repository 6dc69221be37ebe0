"""Static files may be kept for a year, so each has an address that changes with its content."""

import re
from pathlib import Path

from quart import Quart

from quartblog.web import static
from tests.support.asgi import ask
from tests.support.browsing import Serve, Visitor


def stylesheet(page: str) -> str:
    """Where the page takes its style from."""
    (address,) = re.findall(r'<link rel="stylesheet" href="([^"]+)">', page)
    return str(address)


async def test_every_page_even_a_fixed_one_uses_the_same_stylesheet(visitor: Visitor, serve: Serve) -> None:
    page = await visitor.get("/login")
    refusal = await ask(await serve(security={"allowed_hosts": ["blog.example.org"]}), "/")

    assert refusal.status == 400
    assert re.fullmatch(r"/static/quartblog\.css\?v=\w+", stylesheet(page.text))
    assert stylesheet(refusal.text) == stylesheet(page.text)
    assert (await visitor.get(stylesheet(page.text))).status == 200


def test_another_content_is_another_address(tmp_path: Path) -> None:
    (tmp_path / "old.css").write_text("a {}")
    (tmp_path / "same.css").write_text("a {}")
    (tmp_path / "new.css").write_text("b {}")

    old, same, new = (static.version(name, tmp_path) for name in ("old.css", "same.css", "new.css"))
    assert old == same != new


async def test_a_file_that_is_not_there_breaks_no_page(app: Quart) -> None:
    async with app.test_request_context("/"):
        assert app.url_for("static", filename="missing.css") == "/static/missing.css"
