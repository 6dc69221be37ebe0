"""Request -> form -> service -> page or redirect: the home page, publishing, and a greeting."""

from quart import Blueprint, Response, redirect, render_template, url_for
from quart.typing import ResponseReturnValue
from quart_auth import login_required

from quartblog.auth.visitor import required_user, signed_in_user
from quartblog.database import reading, transaction
from quartblog.posts import service
from quartblog.posts.forms import PublishForm
from quartblog.web.forms import Blank, Form
from quartblog.web.paging import asked_keys

blueprint = Blueprint("posts", __name__)


@blueprint.get("/")
async def home() -> ResponseReturnValue:
    """Show the newest posts, and the publishing form to a signed-in visitor."""
    return await _home_page(PublishForm.blank())


@blueprint.post("/")
@login_required
async def publish() -> ResponseReturnValue:
    """Publish, then redirect, so that a reload does not publish twice."""
    form = await PublishForm.sent()
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


async def _home_page(form: Form | Blank) -> str:
    visitor = await signed_in_user()
    async with reading() as connection:
        page = await service.timeline(connection, **asked_keys())
    return await render_template("home.html", form=form if visitor else None, page=page)
