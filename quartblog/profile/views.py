"""Request -> form -> service -> page or redirect: show a profile, edit one's own."""

from quart import Blueprint, flash, redirect, render_template, url_for
from quart.typing import ResponseReturnValue
from quart_auth import login_required

from quartblog.auth.visitor import required_user, signed_in_user
from quartblog.database import reading, transaction
from quartblog.errors.exceptions import UsernameTaken
from quartblog.posts.service import timeline
from quartblog.profile import service
from quartblog.profile.forms import EditProfileForm
from quartblog.web.forms import Blank, Form, refuse
from quartblog.web.i18n import N_, _
from quartblog.web.paging import asked_keys

blueprint = Blueprint("profile", __name__, url_prefix="/user")


@blueprint.get("/info/<username>")
async def show(username: str) -> ResponseReturnValue:
    """Show a user and their posts, newest first."""
    visitor = await signed_in_user()
    async with reading() as connection:
        person = await service.person(connection, username)
        page = await timeline(connection, **asked_keys(), author_id=person.id)
    return await render_template(
        "profile/show.html",
        person=person,
        page=page,
        is_self=visitor is not None and visitor.id == person.id,
    )


@blueprint.get("/edit")
@login_required
async def edit() -> ResponseReturnValue:
    """Show the form with the current values."""
    user = await required_user()
    return await _edit_page(EditProfileForm.blank(username=user.username, about_me=user.about_me))


@blueprint.post("/edit")
@login_required
async def save_edit() -> ResponseReturnValue:
    """Save the edit; explain a taken name beside its field, and keep what the user typed."""
    form = await EditProfileForm.sent()
    if not form.validate():
        return await _edit_page(form)
    edit = form.edit()
    try:
        async with transaction() as session:
            await service.edit(session, (await required_user()).id, edit.username, edit.about_me)
    except UsernameTaken:
        refuse(form.username, N_("请使用其他用户名"))
        return await _edit_page(form)
    await flash(_("您的修改已保存"), "success")
    return redirect(url_for(".edit"))


async def _edit_page(form: Form | Blank) -> str:
    return await render_template("profile/edit.html", form=form)
