"""The home page, publishing, and the original's greeting."""

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

# PostgreSQL's integer: a larger key would be an error there, and no post has it.
_LARGEST_KEY = 2**31 - 1


@blueprint.get("/")
async def home() -> ResponseReturnValue:
    """The newest posts, and for a signed-in visitor the form to add one."""
    return await _home_page(await PublishForm.from_request())


@blueprint.post("/")
@login_required
async def publish() -> ResponseReturnValue:
    """Publish, then show the home page anew so that a reload does not publish twice."""
    form = await PublishForm.from_request()
    if not form.validate():
        return await _home_page(form)
    user = await required_user()
    async with transaction() as session:
        await service.publish(session, user.id, form.body.data or "")
    return redirect(url_for(".home"))


@blueprint.get("/hello")
async def hello() -> ResponseReturnValue:
    """The original's first page."""
    return Response("Hello, World!", content_type="text/plain; charset=utf-8")


def asked_window(arguments: Mapping[str, str]) -> Window:
    """Which part of the timeline the address asks for; what is no key asks for the newest."""
    return Window(before=_key(arguments.get("before")), after=_key(arguments.get("after")))


def page_links(page: Page, **values: str) -> dict[str, str | None]:
    """The addresses of the pages beside this one, for the templates."""
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
