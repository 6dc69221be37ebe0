"""Exception -> status -> page or RFC 9457 problem, in the visitor's language.

Error pages extend `shell.html` and query neither the database nor the signed-in user, so the page about a broken
database needs no database. Every 5xx makes exactly one error record, and its page shows the error id; the outermost
layer puts the same id into the header.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from markupsafe import Markup
from quart import Quart, Response, current_app, flash, redirect, request, url_for
from quart.typing import ResponseReturnValue
from quart_auth import Unauthorized
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_accept_header

from quartblog.delivery import current_scope
from quartblog.delivery.tools import worth_hiding
from quartblog.errors.exceptions import (
    DatabaseUnavailable,
    EmailTaken,
    FromElsewhere,
    FromNowhere,
    InvalidUsername,
    KeyRefused,
    Refusal,
    UsernameTaken,
    WrongCredentials,
)
from quartblog.web.i18n import N_, _
from quartblog.web.pieces import Pieces

logger = logging.getLogger(__name__)

# The default of Retry-After in seconds: long enough for a database to restart.
RETRY_AFTER = 10

# The most characters read of the Accept header; browsers send up to 200.
ACCEPT_READ = 1000

MAILED = "quartblog.failures_are_mailed"
"""Whether a mail server is set; the value may change while the site runs."""
# The placeholder of the error id in a rendered page. No other text contains it, because templates escape <.
_ID = Markup("<error id>")


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a status for a visitor, and advice on what to do."""

    title: str
    hint: str | None = None


EXPLANATIONS = {
    400: Explanation(N_("请求有误"), N_("服务器无法理解这个请求，请检查后重试。")),
    401: Explanation(N_("请登录后访问此页面")),
    403: Explanation(N_("没有权限"), N_("您无权访问此页面。")),
    404: Explanation(N_("网页未找到"), N_("地址可能有误，或者内容已被删除。")),
    405: Explanation(N_("不支持的请求方法"), N_("这个地址不接受这种请求，请从首页重新进入。")),
    408: Explanation(N_("请求超时"), N_("内容没有在规定的时间内传完，请检查网络后重试。")),
    409: Explanation(N_("内容冲突"), N_("提交的内容与已有的内容冲突，请修改后重试。")),
    413: Explanation(N_("提交的内容过大"), N_("请缩短内容后重新提交。")),
    429: Explanation(N_("请求过于频繁"), N_("请稍候片刻再试。")),
    500: Explanation(N_("发生意外错误"), N_("已通知管理员，给您带来的不便，请多多原谅")),
    503: Explanation(N_("服务暂时不可用"), N_("请稍候片刻再试，已输入的内容可以在返回上一页后找回。")),
}
_ONLY_RECORDED = Explanation(N_("发生意外错误"), N_("已记录，给您带来的不便，请多多原谅"))
# A refusal without an entry, for its class or a base class, gets the explanation of its status.
_REFUSALS: dict[type, Explanation] = {
    FromElsewhere: Explanation(
        N_("表单来自其他网站"), N_("为了安全，本站只接受从自己的页面提交的表单。请在本站打开这个页面，再提交一次。")
    ),
    FromNowhere: Explanation(
        N_("不清楚表单来自哪里"),
        N_("请求里没有 Sec-Fetch-Site，也没有 Origin。请更新浏览器，或者让脚本发送 Origin。"),
    ),
    KeyRefused: Explanation(
        N_("这个地址已经用过，或者过期了"), N_("请在服务器上运行 quartblog operations link，取得新的地址。")
    ),
    UsernameTaken: Explanation(N_("该用户名已被使用"), N_("请使用其他用户名")),
    EmailTaken: Explanation(N_("该邮箱已被使用")),
    InvalidUsername: Explanation(
        N_("请求有误"), N_("请使用字母、数字、汉字或 _ - . ，以字母、数字或汉字开头，不要混用不同的文字")
    ),
    WrongCredentials: Explanation(N_("用户名或密码有误")),
}


def init_app(app: Quart, *, mailed: bool) -> None:
    """Register the error handlers. Call it before any function that may refuse a request.

    `mailed`: whether the site mails errors to an administrator.
    """
    app.extensions[MAILED] = mailed
    app.before_request(note_route)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Unauthorized, sign_in_first)
    app.register_error_handler(Refusal, refused)
    app.register_error_handler(DatabaseUnavailable, database_unavailable)


async def note_route() -> None:
    """Put the route's rule into the request's records, and redact the values in its placeholders."""
    if (scope := current_scope()) and request.url_rule is not None:
        scope.route = request.url_rule.rule
        if written := request.view_args:
            scope.hide(
                lambda: [
                    value for name, value in written.items() if isinstance(value, str) and worth_hiding(name, value)
                ]
            )


async def http_error(error: HTTPException) -> ResponseReturnValue:
    """Answer with the error's status. Record a 5xx here only if it has no original exception."""
    status = error.code or 500
    if status >= 500 and getattr(error, "original_exception", None) is None:
        logger.error("Answered %s %s", error.code, error.name, exc_info=error)
    return await _answer(status, headers=error.get_headers())


async def sign_in_first(error: Unauthorized) -> ResponseReturnValue:
    """Send a browser to the sign-in page and back afterwards; answer a JSON client with 401."""
    if _wants_json():
        return await _answer(401, headers=error.get_headers())
    await flash(_("请登录后访问此页面"), "message")
    # The browser can return only to a page; after a POST it goes to the home page.
    wanted = request.full_path.rstrip("?") if request.method in {"GET", "HEAD"} else None
    return redirect(url_for("auth.login", next=wanted))


async def refused(error: Refusal) -> ResponseReturnValue:
    """Answer with the refusal's status and explanation; user mistakes are not recorded as errors."""
    words = next((_REFUSALS[kind] for kind in type(error).__mro__ if kind in _REFUSALS), None)
    return await _answer(error.status, words)


async def database_unavailable(error: DatabaseUnavailable) -> ResponseReturnValue:
    """Record the error, and answer 503 with Retry-After."""
    logger.error("The database does not answer", exc_info=error)
    return await _answer(503)


def failure(app: Quart) -> Explanation:
    """Return the explanation of a 500: it mentions the administrator only if the site mails errors."""
    return EXPLANATIONS[500] if app.extensions[MAILED] else _ONLY_RECORDED


def problem(status: int, title: str, detail: str | None, error_id: str | None) -> str:
    """Return the RFC 9457 document of an error."""
    members = {"type": "about:blank", "title": title, "status": status, "detail": detail, "error_id": error_id}
    return json.dumps({key: value for key, value in members.items() if value is not None}, ensure_ascii=False)


async def _answer(
    status: int, explanation: Explanation | None = None, *, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    explanation = explanation or _explanation(status)
    scope = current_scope()
    error_id = scope.error_id if scope is not None and status >= 500 else None
    if _wants_json():
        hint = _(explanation.hint) if explanation.hint else None
        body = problem(status, _(explanation.title), hint, error_id)
        response = Response(body, status, content_type="application/problem+json")
    else:
        body = await _page(status, explanation, error_id)
        response = Response(body, status, content_type="text/html; charset=utf-8")
    for name, value in headers:
        if name.lower() != "content-type":
            response.headers[name] = value
    if status in {429, 503}:
        response.headers.setdefault("Retry-After", str(RETRY_AFTER))
    return response


def _explanation(status: int) -> Explanation:
    if status >= 500 and status != 503:
        return failure(current_app)
    return EXPLANATIONS.get(status) or EXPLANATIONS[400]


async def _page(status: int, explanation: Explanation, error_id: str | None) -> str:
    """Return the HTML page. Pages differ only in the error id, so an error storm renders one."""
    # Not render_template(): its context processors would query the database for the signed-in user.
    piece = cast("Pieces", current_app.jinja_env.globals["piece"])
    place = _ID if error_id else None
    page = await piece("error.html", status=status, title=explanation.title, hint=explanation.hint, error_id=place)
    return page.replace(_ID, error_id) if error_id else page


def _wants_json() -> bool:
    return _prefers_json(request.headers.get("Accept", "")[:ACCEPT_READ])


# Cached: browsers send few different headers, and parsing one is a large part of an error's cost.
@lru_cache(maxsize=256)
def _prefers_json(accept: str) -> bool:
    kinds = ("text/html", "application/problem+json", "application/json")
    return parse_accept_header(accept, MIMEAccept).best_match(kinds, default=kinds[0]) != kinds[0]
