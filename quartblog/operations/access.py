"""Request -> an administrator's view of this host's outbox, or a sign-in, or a refusal."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, cast

from itsdangerous import BadData, URLSafeTimedSerializer
from quart import Quart, Response, abort, after_this_request, current_app, g, make_response, request
from quart.typing import ResponseReturnValue
from quart_auth import Unauthorized, current_user
from werkzeug.wrappers import Response as WerkzeugResponse

from quartblog.auth.service import SignedIn
from quartblog.auth.visitor import ENDINGS, OTHERS_ENDINGS, required_user
from quartblog.delivery import AsyncOutbox, Delivery
from quartblog.errors.exceptions import DatabaseUnavailable
from quartblog.operations.health import DELIVERY
from quartblog.operations.keys import PROVEN, are_ended, end_proofs, has_ended, note_end
from quartblog.web.cookies import cookie_name
from quartblog.web.security_log import logger as security
from quartblog.web.seldom import Seldom

logger = logging.getLogger(__name__)

_REFUSALS = "quartblog.refused_operators"
_PROOFS = "quartblog.refused_proofs"
_STRANGERS = "quartblog.strangers_at_operations"
PROOF = "quartblog_operator"
"""The cookie that shows, without the database, that an administrator has this login."""
ADMISSION = "quartblog_admission"
"""The cookie that a single-use key gives."""
_ADMITTED = "admitted by a key"


def init_app(app: Quart) -> None:
    """Prepare the records of refusals, and end what a sign-out must end."""
    for name in (_REFUSALS, _PROOFS, _STRANGERS):
        app.extensions[name] = Seldom(security, logging.INFO)
    app.extensions[ENDINGS].append(_end)
    app.extensions[OTHERS_ENDINGS].append(_end_all)


def for_administrators(view: Callable[..., Awaitable[ResponseReturnValue]]) -> Callable[..., Any]:
    """Let administrators pass; send strangers to sign in, and answer other members with 403.

    While the blog's database is away, a proof that an administrator got with an earlier page counts.
    """

    @wraps(view)
    async def guarded(**values: Any) -> ResponseReturnValue:
        if await _admission() is not None:
            g.operator, g.user = "operations link", None
            return await view(**values)
        try:
            g.operator, proof = await _administrator()
        except DatabaseUnavailable:
            proven = await _proven(request.cookies.get(cookie_name(PROOF, whole_site=False), ""))
            if proven is None:
                raise
            g.operator, proof = proven, None
            # The page must not ask the database again.
            g.user = None
        answer = await make_response(await view(**values))
        if proof is not None:
            secure = current_app.config["QUART_AUTH_COOKIE_SECURE"]
            name = cookie_name(PROOF, whole_site=False)
            answer.set_cookie(
                name, proof, max_age=PROVEN, path="/operations", secure=secure, httponly=True, samesite="Strict"
            )
        return answer

    return guarded


def admit(answer: Response, secure: bool) -> Response:  # noqa: FBT001  as the cookie's own argument
    """Let the browser that gets this answer see the pages for 12 hours, whoever is signed in."""
    answer.set_cookie(
        cookie_name(ADMISSION),
        _signer().dumps([_ADMITTED, secrets.token_hex(16)]),
        max_age=PROVEN,
        # The sign-out gets it too, and ends it.
        path="/",
        secure=secure,
        httponly=True,
        samesite="Lax",
    )
    return answer


async def _admission() -> str | None:
    """Return the number of the admission that the browser sends; None without a valid one."""
    sent = request.cookies.get(cookie_name(ADMISSION), "")
    try:
        words, number = _signer().loads(sent, max_age=PROVEN)
    except (BadData, TypeError, ValueError):
        return None
    if words != _ADMITTED or not isinstance(number, str):
        return None
    folder = outbox_folder()
    ended = folder is not None and await asyncio.to_thread(has_ended, folder, number)
    return None if ended else number


async def _administrator() -> tuple[str, str]:
    """Return the name of the administrator who asks, and a new proof. Raise Unauthorized, Forbidden."""
    try:
        user = await required_user()
    except Unauthorized:
        current_app.extensions[_STRANGERS].log("Sent somebody who asked for the operations pages to sign in")
        raise
    if not user.is_admin:
        current_app.extensions[_REFUSALS].log("Refused the operations pages to a member who is no administrator")
        abort(403)
    return user.username, _signer().dumps([user.id, user.username, _of_login()])


async def _proven(proof: str) -> str | None:
    """Return the name in a proof of this login that is not too old, and that nothing has ended since."""
    try:
        (user_id, name, login), made = _signer().loads(proof, max_age=PROVEN, return_timestamp=True)
    except (BadData, TypeError, ValueError):
        name, login = None, None
    if isinstance(name, str) and _of_login() and login == _of_login():
        folder = outbox_folder()
        if folder is None or not (
            await asyncio.to_thread(has_ended, folder, login)
            or await asyncio.to_thread(are_ended, folder, user_id, made.timestamp())
        ):
            return name
    if proof:
        current_app.extensions[_PROOFS].log("Refused a proof for the operations pages that is forged, ended or too old")
    return None


async def _end(token: str | None, user: SignedIn | None) -> None:
    """End the proof of a login, and what the browser has for these pages."""

    @after_this_request
    async def forget(answer: Response | WerkzeugResponse) -> Response | WerkzeugResponse:
        secure = current_app.config["QUART_AUTH_COOKIE_SECURE"]
        answer.delete_cookie(cookie_name(PROOF, whole_site=False), path="/operations", secure=secure)
        answer.delete_cookie(cookie_name(ADMISSION), path="/", secure=secure)
        return answer

    if (admission := await _admission()) is not None:
        await _note(note_end, admission, PROVEN)
    # Without the database, nobody knows whether this is an administrator: browsers send the proof to its pages only.
    if token is not None and (user is None or user.is_admin):
        await _note(note_end, _of(token), PROVEN)


async def _end_all(user: SignedIn) -> None:
    """End the proofs of all logins of an account; the one that stays gets another with the next page."""
    if user.is_admin:
        await _note(end_proofs, user.id)


async def _note(note: Callable[..., None], *values: object) -> None:
    folder = outbox_folder()
    if folder is None:
        return
    try:
        await asyncio.to_thread(note, folder, *values)
    except OSError:
        logger.warning(
            "Could not note that an administrator signed out: copied cookies open the operations pages for up to 12"
            " hours while the blog's database is away",
            exc_info=True,
        )


def _of_login() -> str:
    """Return what a proof has of the login cookie, "" without one: with another login it proves nothing."""
    token = current_user.auth_id
    return "" if token is None else _of(token)


def _of(token: str) -> str:
    return hashlib.sha256(f"operations {token}".encode()).hexdigest()


def _signer() -> URLSafeTimedSerializer:
    keys = [*current_app.config["SECRET_KEY_FALLBACKS"], current_app.secret_key or ""]
    return URLSafeTimedSerializer(keys, salt="quartblog.operations")


def delivery() -> Delivery:
    """Return the delivery of this process."""
    return cast("Delivery", current_app.extensions[DELIVERY])


def outbox_folder() -> Path | None:
    """Return the folder of the outbox, None where it is in memory only."""
    outbox = delivery().outbox
    return None if outbox is None or outbox.path is None else outbox.path.parent


def store() -> AsyncOutbox:
    """Return the outbox; answer 503 while the delivery does not run."""
    outbox = delivery().outbox
    if outbox is None:
        abort(503)
    return AsyncOutbox(outbox)
