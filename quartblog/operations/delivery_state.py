"""Request of an administrator -> the state of this host's delivery: its workers, its mails, and a test error."""

import logging
from typing import Any

from quart import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue

from quartblog.delivery import Worker
from quartblog.operations.access import delivery, for_administrators, store
from quartblog.operations.error_groups import moments, number
from quartblog.web.i18n import N_, _

logger = logging.getLogger(__name__)

blueprint = Blueprint("operations_delivery", __name__, url_prefix="/operations")

# Mails of one state that the page shows.
_MAILS = 50
# Seconds after which the page may load itself again.
_REFRESH = ("5", "15", "60")
# Not "test": a word that a form sends is hidden in the record that it causes.
_DONE = {"retry": N_("将重新发送"), "purge": N_("已删除"), "try-out": N_("已记录一个测试错误")}
# Counts of a heartbeat, and what they count.
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
        totals=await outbox.totals(),
        waiting=await outbox.mails("waiting", _MAILS),
        dead=await outbox.mails("dead", _MAILS),
        problem=delivery().problem,
        healthy=outbox.healthy,
        refresh=refresh if refresh in _REFRESH else None,
        choices=_REFRESH,
        moments=moments,
    )
    return (page, {"Refresh": refresh}) if refresh in _REFRESH else page


@blueprint.post("/delivery")
@for_administrators
async def act() -> ResponseReturnValue:
    """Retry one mail or all, remove the dead ones, or log a test error."""
    form = await request.form
    mail = form.get("retry", "")
    action = "retry" if mail else form.get("action", "")
    if action not in _DONE or (mail and number(mail) is None):
        abort(400)
    words = _(_DONE[action])
    if action == "retry":
        words = f"{words}: {await store().retry(int(mail) if mail else None)}"
    elif action == "purge":
        words = f"{words}: {await store().purge(dead=True)}"
    else:
        logger.error("A test error, which %s asked for", g.operator)
    await flash(words, "success")
    return redirect(url_for(".state"))


def _summed(workers: list[Worker]) -> dict[str, int]:
    """Return the sums of all workers' counts since each of them started, by what they count."""
    return {_(words): sum(_count(worker.figures.get(name)) for worker in workers) for name, words in _SUMMED.items()}


def _count(value: Any) -> int:
    return value if type(value) is int else 0
