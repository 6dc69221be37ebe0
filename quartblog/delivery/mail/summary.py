"""The figures of a week -> one mail to the admins, also if nothing failed: it shows that mail reaches them.

Texts from strangers are escaped, as in a digest.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING

from ..store.mails import NewMail
from ..text import counted
from ..text.escaping import one_line
from .addresses import bare_address
from .digest import commands, conversation, links, name_of, origin
from .message import new_message, wire_form
from .weekly import WEEK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from email.message import EmailMessage

    from ..options import MailOptions
    from ..store.weeks import Frequent, Week
    from ..store.workers import Worker


def summary_mail(week: Week, workers: Sequence[Worker], options: MailOptions, host: str) -> EmailMessage:
    """Return the mail to the admins. `workers`: those of this host, as the outbox knows them."""
    errors = counted(week.errors, "error") if week.errors else "no errors"
    kinds = f", {counted(week.new, 'new kind')}" if week.new else ""
    return new_message(
        options,
        f"Weekly summary: {errors}{kinds} ({origin(options, host)})",
        "\n\n".join(_paragraphs(week, workers, options, host)),
        conversations=[conversation("weekly summary", options, host)],
    )


def stored(message: EmailMessage, options: MailOptions) -> NewMail:
    """Return the mail as the outbox stores it."""
    to = tuple({bare_address(address): None for address in options.admins})
    return NewMail(message["Message-ID"], message["Subject"], wire_form(message), to, "summary")


def _paragraphs(week: Week, workers: Sequence[Worker], options: MailOptions, host: str) -> Iterator[str]:
    yield one_line(f"{options.site} on {host}: {_moment(week.begin)} to {_moment(min(week.end, week.made))}, in UTC")
    yield _result(week)
    if incomplete := _incomplete(week):
        yield incomplete
    yield "\n".join(_figures(week, workers))
    if week.frequent:
        listed = [_group(frequent, options) for frequent in week.frequent]
        if more := week.kinds - len(listed):
            listed.append(f"and {counted(more, 'more kind')}")
        yield f"{'=' * 72}\nMost frequent:"
        yield from listed
    yield (
        "This mail leaves once a week, also if nothing failed, so it shows that error mails reach you."
        " If it is missing, find out why."
    )


def _result(week: Week) -> str:
    if not week.errors:
        return f"No errors this week; {counted(week.errors_before, 'error')} in the week before."
    kinds = "one kind" if week.kinds == 1 else f"{week.kinds} kinds"
    return f"{counted(week.errors, 'error')} of {kinds} this week; {week.errors_before} in the week before."


def _incomplete(week: Week) -> str:
    """Return a sentence about the days that the outbox has not counted; "" without any."""
    if week.since <= week.begin - WEEK:
        return ""
    which = "this week is" if week.since > week.begin else "the week before is"
    return f"The outbox counts since {_moment(week.since)}, so {which} not complete."


def _figures(week: Week, workers: Sequence[Worker]) -> Iterator[str]:
    yield f"Groups   {week.new} new ({week.new_before} in the week before), {week.resolved} resolved"
    yield f"Mails    {week.sent} sent, {week.dead} given up"
    yield f"Now      {counted(week.open, 'group')} open, {week.muted} muted; {_mails(week)} ({_moment(week.made)})"
    running = [worker for worker in workers if worker.runs]
    names = ", ".join(f"{worker.name}{_marks(worker)}" for worker in running)
    yield one_line(f"Workers  {len(running)} running{f': {names}' if names else ''}")


def _mails(week: Week) -> str:
    return f"{counted(week.waiting, 'mail')} waiting, {week.all_dead} dead"


def _marks(worker: Worker) -> str:
    if worker.hangs:
        return f" (silent for {worker.silent:.0f} s)"
    return " (mails for this host)" if worker.leader else ""


def _group(frequent: Frequent, options: MailOptions) -> str:
    group = frequent.group
    state = "" if frequent.state == "open" else f", now {frequent.state}"
    facts = f"{logging.getLevelName(group.level)} of {group.logger} at {group.place}{state}"
    lines = [
        f"{counted(frequent.errors, 'error')} ({frequent.errors_before} in the week before): {name_of(group)}",
        # A server may have refused what these texts say.
        *([] if group.refusals else [facts]),
        *(links(group, options.page) or commands(group, options.command)[:1]),
    ]
    return "\n  ".join(map(one_line, lines))


def _moment(at: float) -> str:
    """Return the weekday, date and time in UTC, like the time of the week for which summaries are planned."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%a %Y-%m-%d %H:%M")
