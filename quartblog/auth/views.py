"""Request -> form -> service -> page or redirect: register, sign in, sign out."""

from datetime import timedelta

from quart import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue
from quart_auth import current_user

from quartblog.auth import service
from quartblog.auth.forms import Credentials, LoginForm, RegistrationForm
from quartblog.auth.passwords import hash_password, verify_password
from quartblog.auth.visitor import device, end_login, sign_in, sign_out, signed_in_user
from quartblog.database import reading, transaction
from quartblog.errors.exceptions import EmailTaken, UsernameTaken, WrongCredentials
from quartblog.web.forms import Blank, Form, refuse
from quartblog.web.i18n import N_, _
from quartblog.web.redirects import safe_path
from quartblog.web.security_log import Event, note

blueprint = Blueprint("auth", __name__)


@blueprint.get("/login")
async def login() -> ResponseReturnValue:
    """Show the sign-in form."""
    if await signed_in_user():
        return redirect(_next_address())
    return await _login_page(LoginForm.blank())


@blueprint.post("/login")
async def submit_login() -> ResponseReturnValue:
    """Check the password, replace the browser's login by a new one, redirect to the page the visitor wanted."""
    form = await LoginForm.sent()
    if not form.validate():
        return await _login_page(form)
    credentials = form.credentials()
    try:
        user_id, token = await _begin_login(credentials)
    except WrongCredentials:
        note(Event.SIGN_IN_REFUSED)
        form.form_errors.append(N_("用户名或密码有误"))
        return await _login_page(form)
    if current_user.auth_id:
        # Its cookie is replaced, so nobody could end it any more.
        await end_login()
    sign_in(token, remember=credentials.remember)
    note(Event.SIGNED_IN, user_id)
    return redirect(_next_address())


@blueprint.get("/logout")
async def logout() -> ResponseReturnValue:
    """Ask for confirmation: whatever loads this address, such as a picture or a link, signs nobody out."""
    if await signed_in_user():
        return await render_template("auth/logout.html")
    return redirect(url_for("posts.home"))


@blueprint.post("/logout")
async def submit_logout() -> ResponseReturnValue:
    """End the login."""
    await sign_out()
    answer = redirect(url_for("posts.home"))
    # Not "cookies": that would also end what other sites below the same domain have set.
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


@blueprint.get("/register")
async def register() -> ResponseReturnValue:
    """Show the registration form."""
    if await signed_in_user():
        return redirect(url_for("posts.home"))
    return await _register_page(RegistrationForm.blank())


@blueprint.post("/register")
async def submit_registration() -> ResponseReturnValue:
    """Open an account; explain a taken name or address beside its field."""
    if not current_app.config["REGISTRATION"]:
        abort(403)
    form = await RegistrationForm.sent()
    if not form.validate():
        return await _register_page(form)
    username, email, password = form.account()
    password_hash = await hash_password(password)
    try:
        async with transaction() as session:
            user = await service.register(session, username, email, password_hash)
    except UsernameTaken:
        refuse(form.username, N_("该用户名已被使用"))
        return await _register_page(form)
    except EmailTaken:
        refuse(form.email, N_("该邮箱已被使用"))
        return await _register_page(form)
    note(Event.REGISTERED, user.id)
    await flash(_("祝贺，你现在已成为一个注册用户！"), "success")
    return redirect(url_for("auth.login"))


async def _begin_login(credentials: Credentials) -> tuple[int, str]:
    """Return whose login it is, and its token. Raise WrongCredentials."""
    async with reading() as connection:
        stored = await service.secret(connection, credentials.username)
    if not await verify_password(stored and stored.password_hash, credentials.password) or stored is None:
        raise WrongCredentials
    lasts = timedelta(days=current_app.config["SESSION_DAYS"]) if credentials.remember else service.UNREMEMBERED
    async with transaction() as session:
        return stored.user_id, await service.begin_login(session, stored, lasts, device())


async def _login_page(form: Form | Blank) -> str:
    return await render_template("auth/login.html", form=form, next_path=_wanted_path())


async def _register_page(form: Form | Blank) -> str:
    return await render_template("auth/register.html", form=form)


def _next_address() -> str:
    return _wanted_path() or url_for("posts.home")


def _wanted_path() -> str | None:
    if not (wanted := request.args.get("next")):
        return None
    # A visitor who has just signed in does not want to be signed out.
    return safe_path(wanted, never=url_for("auth.logout"))
