"""Request of an administrator -> this host's delivery: its workers, mails and settings; a test error or mail."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Any, cast

from quart import Blueprint, abort, current_app, flash, g, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue

from quartblog.delivery import State, Worker
from quartblog.errors.pages import MAILED
from quartblog.operations.access import delivery, for_administrators, store
from quartblog.operations.error_groups import number
from quartblog.operations.health import reasons
from quartblog.operations.trial_mail import trial_mail
from quartblog.settings import Loaded, report
from quartblog.settings.options import mail_options
from quartblog.web.i18n import N_, _

logger = logging.getLogger(__name__)

blueprint = Blueprint("operations_delivery", __name__, url_prefix="/operations")

LOADED = "quartblog.loaded_settings"
"""Names the settings in effect, with their origins, in app.extensions."""

# Mails of one state that the page shows; of those that were sent, it shows that the path works.
_MAILS: dict[State, int] = {"dead": 50, "waiting": 50, "sent": 5}
# Seconds after which the page may load itself again.
_REFRESH = ("5", "15", "60")
# Not "test": a word that a form sends is hidden in the record that it causes.
_DONE = {
    "retry": N_("将重新发送"),
    "purge": N_("已删除"),
    "try-out": N_("已记录一个测试错误"),
    "try-mail": N_("测试邮件已排队"),
}
# Counts of a heartbeat, and what they count; those of _LOSSES should be zero.
_LOSSES = ("dead", "file_lost", "dropped")
_SUMMED = {
    "accepted": N_("接收的记录"),
    "written": N_("写入日志的记录"),
    "grouped": N_("归组的错误"),
    "mailed": N_("发出的邮件"),
    "retried": N_("重试次数"),
    "dead": N_("放弃的邮件"),
    "file_lost": N_("未写入日志的记录"),
    "dropped": N_("未能保存的错误"),
}


@blueprint.get("/delivery")
@for_administrators
async def state() -> ResponseReturnValue:
    """Show the workers of this host and the mails that wait or are dead."""
    outbox = store()
    workers = [worker for worker in await outbox.workers() if worker.runs]
    refresh = request.args.get("refresh")
    page = await render_template(
        "operations/delivery.html",
        workers=workers,
        summed=_summed(workers),
        queued=tuple(sum(_count(worker.figures.get(name)) for worker in workers) for name in ("depth", "limit")),
        refused=_refused(workers),
        slowest=_slowest(workers),
        totals=await outbox.totals(),
        mails={state: await outbox.mails(state, most) for state, most in _MAILS.items()},
        settings=_settings(),
        verdict=reasons(delivery()),
        healthy=outbox.healthy,
        refresh=refresh if refresh in _REFRESH else None,
        choices=_REFRESH,
    )
    return (page, {"Refresh": refresh}) if refresh in _REFRESH else page


@blueprint.post("/delivery")
@for_administrators
async def act() -> ResponseReturnValue:
    """Retry one mail or all, remove one or the dead ones, log a test error, or send a test mail."""
    form = await request.form
    # A button beside a mail has the mail's number, a button for all mails an action.
    action = next((name for name in ("retry", "purge") if form.get(name)), form.get("action", ""))
    mail = number(form.get(action, ""))
    if action not in _DONE or (form.get(action) and mail is None):
        abort(400)
    words = _(_DONE[action])
    if action == "retry":
        words = f"{words}: {await store().retry(mail)}"
    elif action == "purge":
        words = f"{words}: {await store().purge(mail, dead=mail is None)}"
    elif action == "try-out":
        logger.error("A test error, which %s asked for", g.operator)
    elif not await _post_trial_mail():
        await flash(_("没有设置邮件服务器 ([mail] server)，无法发送邮件"), "error")
        return redirect(url_for(".state"))
    await flash(words, "success")
    return redirect(url_for(".state"))


async def _post_trial_mail() -> bool:
    """Put a mail to all admins into the outbox; return False where the site sends none."""
    options = mail_options(_loaded().settings) if current_app.extensions[MAILED] else None
    if options is None:
        return False
    message = trial_mail(options, f"{g.operator} asked for it on the operations pages.")
    await asyncio.to_thread(delivery().post, message, options.admins)
    return True


def _loaded() -> Loaded:
    return cast("Loaded", current_app.extensions[LOADED])


def _settings() -> list[tuple[str, list[report.Entry]]]:
    """Return the settings in effect by section, with their origins and without secrets."""
    return [(name, list(keys)) for name, keys in groupby(report.entries(_loaded()), key=lambda entry: entry.section)]


def _refused(workers: list[Worker]) -> dict[str, int]:
    """Return the records of each level that found a queue full."""
    found: dict[str, int] = {}
    for worker in workers:
        levels = worker.figures.get("refused")
        for level, count in levels.items() if isinstance(levels, Mapping) else ():
            found[level] = found.get(level, 0) + _count(count)
    return {level: count for level, count in found.items() if count}


def _slowest(workers: list[Worker]) -> dict[str, list[Mapping[str, float] | None]]:
    """Return, for each delay, the percentiles of each minute in the worker that was slowest in it."""
    found = {}
    for name in ("to_file_minutes", "to_mail_minutes"):
        series: list[Sequence[Mapping[str, float] | None]] = [worker.figures.get(name) or [] for worker in workers]
        minutes = [filter(None, minute) for minute in zip_longest(*map(reversed, series))]
        found[name] = [max(minute, key=lambda one: one["p99_ms"], default=None) for minute in reversed(minutes)]
    return found


def _summed(workers: list[Worker]) -> list[tuple[str, int, bool]]:
    """Return what all workers have counted since each of them started: the words, the sum, and whether it is a loss."""
    return [
        (_(words), sum(_count(worker.figures.get(name)) for worker in workers), name in _LOSSES)
        for name, words in _SUMMED.items()
    ]


def _count(value: Any) -> int:
    return value if type(value) is int else 0
