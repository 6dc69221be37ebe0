"""Request -> form -> service -> one's own page: change the password, end the logins of other browsers."""

from datetime import timedelta

from quart import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue
from quart_auth import login_required

from quartblog.account import service
from quartblog.account.browsers import browser_name
from quartblog.account.forms import PasswordForm
from quartblog.auth.passwords import hash_password, verify_password
from quartblog.auth.service import change_password
from quartblog.auth.visitor import others_ended, required_user
from quartblog.database import reading, transaction
from quartblog.web.forms import Blank, Form, refuse
from quartblog.web.i18n import N_, _
from quartblog.web.security_log import Event, note

blueprint = Blueprint("account", __name__, url_prefix="/account")


@blueprint.get("")
@login_required
async def show() -> ResponseReturnValue:
    """Show the account, its sessions, and the form for another password."""
    return await _page(PasswordForm.blank())


@blueprint.post("/password")
@login_required
async def save_password() -> ResponseReturnValue:
    """Set a new password, and end the login of every other browser."""
    form = await PasswordForm.sent()
    if not form.validate():
        return await _page(form)
    user = await required_user()
    async with reading() as connection:
        known = await service.account(connection, user.id)
    if not await verify_password(known.password_hash, form.present.data or ""):
        note(Event.WRONG_PASSWORD, user.id)
        refuse(form.present, N_("密码有误"))
        return await _page(form)
    password_hash = await hash_password(form.password.data or "")
    async with transaction() as session:
        await change_password(session, user.id, password_hash, keep=user.login_id)
    await others_ended()
    note(Event.NEW_PASSWORD, user.id)
    await flash(_("密码已修改，其他浏览器都已退出登录"), "success")
    return redirect(url_for(".show"))


@blueprint.post("/sessions")
@login_required
async def end_sessions() -> ResponseReturnValue:
    """End the login of one browser, or of all others."""
    form = await request.form
    user, asked = await required_user(), form.get("end", "")
    if asked == "others":
        async with transaction() as session:
            ended = await service.end_others(session, user.id, user.login_id)
    elif asked.isascii() and asked.isdigit() and len(asked) < 10:
        async with transaction() as session:
            ended = int(await service.end_session(session, user.id, int(asked)))
    else:
        abort(400)
    if ended:
        await others_ended()
        note(Event.SESSION_ENDED, user.id)
    await flash(_("已退出 %(count)s 个浏览器", count=ended), "success")
    return redirect(url_for(".show"))


async def _page(form: Form | Blank) -> str:
    user = await required_user()
    async with reading() as connection:
        known = await service.account(connection, user.id)
        sessions = await service.sessions(connection, user.id, timedelta(days=current_app.config["IDLE_DAYS"]))
    return await render_template(
        "account/show.html",
        form=form,
        email=known.email,
        sessions=[session._replace(browser=browser_name(session.browser)) for session in sessions],
        here=user.login_id,
    )
