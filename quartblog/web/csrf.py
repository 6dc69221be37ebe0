"""Unsafe request -> its CSRF token is checked -> the view, or StaleForm.

The session cookie holds a random secret; a form holds the same secret, signed and dated. Sign-in and sign-out clear the
session, so a token never survives a change of user.
"""

import hmac
import secrets
from collections.abc import Callable
from typing import TypeVar

from itsdangerous import BadSignature, URLSafeTimedSerializer
from quart import Quart, current_app, request, session

from quartblog.errors.exceptions import StaleForm
from quartblog.web.sent import hide_form

FIELD = "csrf_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

# Seconds a form may stay open. A day, so that a visitor can still send a draft left open overnight.
MAX_AGE = 24 * 60 * 60

_SESSION_KEY = "csrf"
_Exempt = TypeVar("_Exempt", bound=Callable[..., object])


def init_app(app: Quart) -> None:
    """Check every unsafe request before its view, and offer `csrf_token()` to the templates."""
    app.before_request(require_token)
    app.jinja_env.globals["csrf_token"] = csrf_token


def csrf_exempt(view: _Exempt) -> _Exempt:
    """Mark a view that changes no data and therefore needs no token."""
    vars(view)["csrf_exempt"] = True
    return view


def csrf_token() -> str:
    """Return a token for one form of the current session."""
    return _serializer().dumps(session.setdefault(_SESSION_KEY, secrets.token_urlsafe(24)))


async def require_token() -> None:
    """Raise StaleForm when an unsafe request lacks a valid token of this session."""
    if request.method in SAFE_METHODS or request.endpoint is None:
        return
    if getattr(current_app.view_functions.get(request.endpoint), "csrf_exempt", False):
        return
    form = await request.form
    hide_form(form)
    token = form.get(FIELD, "")
    try:
        secret = _serializer().loads(token, max_age=MAX_AGE)
    except BadSignature as error:
        raise StaleForm from error
    if not hmac.compare_digest(str(secret), str(session.get(_SESSION_KEY, ""))):
        raise StaleForm


def _serializer() -> URLSafeTimedSerializer:
    keys = [*current_app.config["SECRET_KEY_FALLBACKS"], current_app.secret_key]
    return URLSafeTimedSerializer(keys, salt="quartblog.csrf")
