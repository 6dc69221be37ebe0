"""Request of an administrator -> outbox -> groups of errors, and what the administrator does with them.

Error texts are what strangers wrote: the templates escape all of them, and no page has a script or an inline style.
"""

import asyncio
import logging
import re
from typing import cast
from urllib.parse import urlencode

from quart import Blueprint, Response, abort, flash, g, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue

from quartblog.delivery import Details, Event, Group, GroupState, Order, Query
from quartblog.delivery.tools import REDACTED, block, headline, one_line
from quartblog.operations.access import for_administrators, store
from quartblog.operations.presentation import WRITTEN, moments
from quartblog.operations.tracebacks import parts
from quartblog.web.forms import tidy_lines
from quartblog.web.i18n import N_, _

blueprint = Blueprint("operations", __name__, url_prefix="/operations")

PAGE_SIZE = 50
_STATES = ("open", "resolved", "muted", "all")
_LEVELS = ("ERROR", "CRITICAL")
_ORDERS = ("last", "count")
# The conditions of the list, with the values of those that have a few.
_ASKED: dict[str, tuple[str, ...] | None] = {
    "q": None,
    "state": _STATES,
    "level": _LEVELS,
    "order": _ORDERS,
    "route": None,
    "release": None,
}
# Characters of a condition that count, because each link on the page has all conditions.
_LONGEST = 300
# What the page of a group offers: to mute for so many seconds, or until more than so many errors come within them.
_MUTES: dict[str, tuple[str, float, int | None]] = {
    "1h": (N_("1 小时"), 3_600.0, None),
    "1d": (N_("1 天"), 86_400.0, None),
    "7d": (N_("7 天"), 604_800.0, None),
    "10/1h": (N_("直到 1 小时内超过 10 次"), 3_600.0, 10),
    "100/1d": (N_("直到 1 天内超过 100 次"), 86_400.0, 100),
}
_ERROR_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{12}", re.IGNORECASE)
# Ids that the page of a group lists.
_IDS = 50
_DONE = {"resolve": N_("已解决"), "mute": N_("已静音"), "reopen": N_("已重新打开")}


@blueprint.get("")
@for_administrators
async def start() -> ResponseReturnValue:
    """Lead to the errors, which administrators look at first."""
    return redirect(url_for(".groups"))


@blueprint.get("/errors")
@for_administrators
async def groups() -> ResponseReturnValue:
    """Show a page of groups, or the group of an id that somebody quotes."""
    asked = {name: _asked(name) for name in _ASKED}
    words = asked["q"].strip()
    outbox = store()
    if words and len(words.split()) <= 2 and (known := await outbox.group(words)) is not None:
        return redirect(url_for(".group", group_id=known.id, error=words))
    query = _query(asked)
    page = await outbox.page(query)
    following = None
    if page.more:
        key, last = page.found[-1].key
        following = _address(asked | {"after": f"{key!r}:{last}"})
    return await render_template(
        "operations/groups.html",
        page=page,
        like_an_id=bool(_ERROR_ID.fullmatch(words)),
        following=following,
        first=_address(asked) if query.after else None,
        everywhere=_address(asked | {"state": "all"}),
        act=_address(asked),
        asked=asked,
        address=_address,
        healthy=outbox.healthy,
    )


@blueprint.post("/errors")
@for_administrators
async def change_groups() -> ResponseReturnValue:
    """Resolve, mute or reopen the groups that were ticked."""
    form = await request.form
    chosen = [found for text in form.getlist("group") if (found := number(text)) is not None]
    action = form.get("action", "")
    if action not in _DONE:
        abort(400)
    if not chosen:
        await flash(_("请先选择错误"), "error")
    else:
        changed = [await _do(action, found, mute="1d") for found in chosen]
        await flash(f"{_(_DONE[action])}: {sum(changed)}", "success")
    return redirect(_address({name: _asked(name) for name in _ASKED}))


@blueprint.get("/errors/<int(signed=True):group_id>")
@for_administrators
async def group(group_id: int) -> ResponseReturnValue:
    """Show one group with one of its samples."""
    known = await _found(group_id)
    if known is None:
        return _missing()
    found, details, index = known
    sample = found.samples[index] if found.samples else None
    ids = [one.error_id for one in found.samples]
    newer = ids[index - 1] if index > 0 else None
    older = ids[index + 1] if index + 1 < len(ids) else None
    asked = details.asked
    if asked is not None and sample is not None and asked.error_id == sample.error_id:
        asked = None
    return await render_template(
        "operations/group.html",
        group=found,
        details=details,
        sample=sample,
        newer=newer,
        older=older,
        place=index + 1,
        kept=frozenset(ids),
        asked_id=asked,
        level=logging.getLevelName(found.level),
        last_note=next((past for past in details.history if past.note), None),
        redacted=sample is not None and REDACTED in f"{sample.message}{sample.traceback}{sample.breadcrumbs}",
        trace=await asyncio.to_thread(parts, sample.traceback) if sample else (),
        mutes={name: _(words) for name, (words, _seconds, _more) in _MUTES.items()},
        headline=headline(found),
    )


@blueprint.post("/errors/<int:group_id>")
@for_administrators
async def change_group(group_id: int) -> ResponseReturnValue:
    """Resolve, mute, reopen or note one group."""
    form = await request.form
    action, note, written = form.get("action", ""), tidy_lines(form.get("note")), form.get("more", "").strip()
    if action not in {"note", *_DONE}:
        abort(400)
    if action == "note" and not note:
        await flash(_("请先写下备注"), "error")
    elif action == "mute" and written and not number(written):
        await flash(_("请填写 1 以上的整数"), "error")
    elif not await _do(action, group_id, mute=form.get("span", ""), more=number(written), note=note):
        if not store().healthy:
            await flash(_("错误库暂时无法读取，没有保存"), "error")
        return _missing()
    elif action in _DONE:
        await flash(_(_DONE[action]), "success")
    return redirect(url_for(".group", group_id=group_id))


@blueprint.get("/errors/<int(signed=True):group_id>.md")
@for_administrators
async def markdown(group_id: int) -> ResponseReturnValue:
    """Show one group as Markdown, to copy it into an issue."""
    known = await _found(group_id)
    if known is None:
        return _missing()
    found, _details, index = known
    text = "\n".join(_markdown(found, found.samples[index] if found.samples else None))
    return Response(text, content_type="text/plain; charset=utf-8")


async def _found(group_id: int) -> tuple[Group, Details, int] | None:
    """Return the group, its details, and the index of the sample that the address asks for; None for no group."""
    wanted = request.args.get("error", "")
    found, details = await store().group(group_id), await store().details(group_id, quoted=wanted, ids=_IDS)
    if found is None or details is None:
        return None
    if group_id < 0 and wanted and details.asked is None:
        # Each worker numbers the groups in its memory, so this one may be about another error.
        return None
    quoted = details.asked.error_id if details.asked is not None else None
    return found, details, next((place for place, one in enumerate(found.samples) if one.error_id == quoted), 0)


def _missing() -> ResponseReturnValue:
    """Answer 404, or lead to the list, which says that the outbox cannot be read: then nobody knows of the group."""
    if store().healthy:
        abort(404)
    return redirect(url_for(".groups"))


async def _do(action: str, group_id: int, *, mute: str = "", more: int | None = None, note: str = "") -> bool:
    outbox, who = store(), g.operator
    if action == "resolve":
        return await outbox.resolve(group_id, who=who, note=note)
    if action == "reopen":
        return await outbox.reopen(group_id, who=who, note=note)
    if action == "note":
        return await outbox.note(group_id, note, who=who)
    _words, seconds, offered = _MUTES.get(mute, _MUTES["1d"])
    return await outbox.mute(group_id, seconds, more or offered, who=who, note=note)


def _address(asked: dict[str, str]) -> str:
    """Return the address of the list with these conditions, without empty ones."""
    given = {name: value for name, value in asked.items() if value}
    return url_for(".groups") + (f"?{urlencode(given)}" if given else "")


def _asked(name: str) -> str:
    """Return a condition of the address, "" for none and for one that does not exist."""
    value, allowed = request.args.get(name, "")[:_LONGEST], _ASKED[name]
    return value if allowed is None or value in allowed else ""


def _query(asked: dict[str, str]) -> Query:
    state, level = asked["state"] or "open", asked["level"]
    return Query(
        state=None if state == "all" else cast("GroupState", state),
        level=logging.getLevelNamesMapping()[level] if level else None,
        route=asked["route"] or None,
        release=asked["release"] or None,
        words=asked["q"].strip(),
        order=cast("Order", asked["order"] or "last"),
        after=_after(request.args.get("after", "")),
        limit=PAGE_SIZE,
    )


def _after(text: str) -> tuple[float, int] | None:
    key, _colon, written = text.partition(":")
    # Groups that are only in memory have negative numbers.
    last = number(written.removeprefix("-"))
    try:
        return None if last is None else (float(key), -last if written.startswith("-") else last)
    except ValueError:
        return None


def number(text: str) -> int | None:
    """Return the number that a form or an address names, None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _markdown(found: Group, sample: Event | None) -> list[str]:
    lines = [
        f"# {_code(headline(found))}",
        "",
        f"- {found.count:,} errors, {f'{found.users:,}' if found.users_exact else 'more than 1,000'} users",
        f"- first {moments(found.first_seen):{WRITTEN}}, last {moments(found.last_seen):{WRITTEN}}",
        f"- {_code(found.place)} in {_code(found.function)}",
        f"- release {_code(found.last_release)}",
    ]
    if sample is not None:
        text = block(sample.traceback or sample.message)
        # A fence has at least three marks.
        fence = "`" * max(3, _more_than_in(text))
        where = _code(f"{sample.method or '-'} {sample.route or '-'}")
        lines += ["", f"Error {_code(sample.error_id)}: {where}", "", fence, text, fence]
    return [*lines, ""]


def _code(text: str) -> str:
    """Return the text as a code span: it loads no image, links nowhere, and notifies nobody."""
    line = one_line(text) or "-"
    fence = "`" * _more_than_in(line)
    space = " " if "`" in (line[0], line[-1]) else ""
    return f"{fence}{space}{line}{space}{fence}"


def _more_than_in(text: str) -> int:
    """Return how many backquotes in a row the text never has."""
    return 1 + max(map(len, re.findall("`+", text)), default=0)
