"""Request -> form -> service -> page or redirect: the home page, publishing, and a greeting."""

from collections.abc import Mapping
from dataclasses import asdict

from quart import Blueprint, Response, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue
from quart_auth import login_required

from quartblog.auth.visitor import required_user, signed_in_user
from quartblog.database import reading, transaction
from quartblog.posts import service
from quartblog.posts.forms import PublishForm
from quartblog.posts.service import Page, Window

blueprint = Blueprint("posts", __name__)

# The largest integer key of PostgreSQL, which refuses a larger value.
_LARGEST_KEY = 2**31 - 1


@blueprint.get("/")
async def home() -> ResponseReturnValue:
    """Show the newest posts, and the publishing form to a signed-in visitor."""
    return await _home_page(await PublishForm.from_request())


@blueprint.post("/")
@login_required
async def publish() -> ResponseReturnValue:
    """Publish, then redirect, so that a reload does not publish twice."""
    form = await PublishForm.from_request()
    if not form.validate():
        return await _home_page(form)
    user = await required_user()
    async with transaction() as session:
        await service.publish(session, user.id, form.body.data or "")
    return redirect(url_for(".home"))


@blueprint.get("/hello")
async def hello() -> ResponseReturnValue:
    """Answer with the greeting."""
    return Response("Hello, World!", content_type="text/plain; charset=utf-8")


def asked_window(arguments: Mapping[str, str]) -> Window:
    """Return the window that the query parameters ask for; an invalid key means the newest posts."""
    return Window(before=_key(arguments.get("before")), after=_key(arguments.get("after")))


def page_links(page: Page, **values: str) -> dict[str, str | None]:
    """Return the addresses of the adjacent pages, for the templates."""
    return {"older": _address(page.older, values), "newer": _address(page.newer, values)}


async def _home_page(form: PublishForm) -> str:
    visitor = await signed_in_user()
    async with reading() as session:
        page = await service.timeline(session, asked_window(request.args))
    return await render_template("home.html", form=form if visitor else None, posts=page.posts, **page_links(page))


def _address(window: Window | None, values: Mapping[str, str]) -> str | None:
    if window is None or request.endpoint is None:
        return None
    key = {name: value for name, value in asdict(window).items() if value is not None}
    endpoint = "posts.home" if request.endpoint == "posts.publish" else request.endpoint
    return url_for(endpoint, **{**values, **key})


def _key(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return min(int(text), _LARGEST_KEY)
