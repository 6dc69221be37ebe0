"""Groups -> one mail: a subject that names the worst group, and the facts of each group.

Texts from strangers are escaped: they cannot add a header, leave their line or become markup.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import html
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..grouping.event import exception_line
from ..store.digests import DETAILED, LISTED
from ..text import counted
from ..text.escaping import block, one_line, shortened
from .message import new_message, wire_form

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from email.message import EmailMessage

    from ..options import MailOptions
    from ..store.digests import Undelivered
    from ..store.groups import Group

HEADLINE_LIMIT = 120
"""Characters of the line that names a group."""
TRACES_LIMIT = 200_000
"""Characters of all tracebacks together, shared out among the groups with details."""
MESSAGE_LIMIT = 2_000
"""Characters of one message; the log file has all of it."""
MOST_NAMED = 10
"""Dead letters that a digest names one by one."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of its groups a digest shows."""

    detailed: int = DETAILED
    """Groups with all details."""
    listed: int = LISTED
    """Groups with one line; the digest counts the rest."""
    traces: int = TRACES_LIMIT
    message: int = MESSAGE_LIMIT
    html: bool = True


SIZES = (
    Size(),
    Size(traces=TRACES_LIMIT // 5),
    Size(traces=TRACES_LIMIT // 25),
    Size(traces=0),
    Size(detailed=5, listed=20, traces=0, message=200),
    Size(detailed=1, listed=5, traces=0, message=200, html=False),
)
"""From the whole digest to the shortest: tracebacks are shortened first."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The groups that one mail reports, with facts about all of them."""

    groups: Sequence[Group]
    """The worst groups. It reports `count - reported` errors of each."""
    host: str
    """The host of the outbox: counts and ids are of this host."""
    notes: Sequence[str] = ()
    """Sentences before the groups."""
    more_kinds: int = 0
    """Groups that are not in `groups`."""
    more_errors: int = 0
    """Errors of these groups."""

    @property
    def kinds(self) -> int:
        """All groups that it reports."""
        return len(self.groups) + self.more_kinds

    @property
    def errors(self) -> int:
        """All errors that it reports."""
        return sum(group.count - group.reported for group in self.groups) + self.more_errors

    def message(
        self, options: MailOptions, to: Sequence[str] | None = None, *, most: int | None = None
    ) -> EmailMessage:
        """Return the complete mail, to the admins, or to `to`.

        If the mail server accepts `most` bytes, the mail is shortened to them as far as possible.
        """
        for size in SIZES:
            message = self._message(options, to, size)
            if most is None or len(wire_form(message)) <= most:
                break
        return message

    def _message(self, options: MailOptions, to: Sequence[str] | None, size: Size) -> EmailMessage:
        first = [group for group in self.groups if not group.refusals][: size.detailed]
        others = [group for group in self.groups if group not in first]
        detailed = [_Detailed(group, size, size.traces // len(first)) for group in first]
        head = list(self._head(options, shortened=size != SIZES[0]))
        rest = list(_rest(others, size.listed, self.more_kinds))
        return new_message(
            options,
            self._subject(options),
            "\n\n".join(_paragraphs(head, [part.text(options.command, options.page) for part in detailed], rest)),
            html=_document([part.html(options.command, options.page) for part in detailed], head, rest)
            if size.html
            else None,
            to=to,
            # A mail program that shows a tree takes the last one for the parent of the mail.
            conversations=[conversation(group.fingerprint, options, self.host) for group in reversed(first)],
        )

    def _subject(self, options: MailOptions) -> str:
        """Name the worst error first, because mail programs show the beginning, and the changing counts last."""
        more = f" (+{self.kinds - 1} more)" if self.kinds > 1 else ""
        where = origin(options, self.host)
        return f"{name_of(self.groups[0])}{more} ({where}, {counted(self.errors, 'error')})"

    def _head(self, options: MailOptions, *, shortened: bool) -> Iterator[str]:
        kinds = "one kind" if self.kinds == 1 else f"{self.kinds} kinds"
        yield one_line(f"{options.site} on {self.host}: {counted(self.errors, 'error')} of {kinds}")
        yield from map(one_line, self.notes)
        if shortened:
            yield "The mail server refused a longer mail, so this one is shortened. The log file has all of it."


def origin(options: MailOptions, host: str) -> str:
    """Return where a mail comes from, as its subject says it."""
    return f"{options.title} {options.site} on {host}".lstrip()


def conversation(topic: str, options: MailOptions, host: str) -> str:
    """Return a name that all mails of this host on a topic, such as a group's fingerprint, share."""
    place = hashlib.sha256(f"{options.site}\0{host}".encode(errors="replace")).hexdigest()[:12]
    return f"{hashlib.sha256(topic.encode(errors='replace')).hexdigest()[:16]}.{place}"


def held_note(since: float, cap: int) -> str:
    """Return the sentence about a cap that has held errors back since an epoch second."""
    return (
        f"The cap held this back since {_moment(since)}: {counted(cap, 'digest')} had left within the hour."
        " The counts below include the errors since then."
    )


def undelivered_notes(mails: Sequence[Undelivered]) -> Iterator[str]:
    """Yield the sentences about mails that did not reach all readers."""
    for mail in mails[:MOST_NAMED]:
        if mail.errors:
            yield f"{counted(mail.errors, 'error')} of these groups were in a mail that was refused: {mail.reason}"
        else:
            # Without its subject, whose words may be what the server refused.
            yield f"The mail {mail.id} did not reach {', '.join(mail.recipients)}: {mail.reason}"
    if len(mails) > MOST_NAMED:
        yield f"{counted(len(mails) - MOST_NAMED, 'more mail')} did not reach all readers; the outbox lists them."


class _Detailed:
    """One group with all details: the same facts as text and as HTML."""

    def __init__(self, group: Group, size: Size, trace: int) -> None:
        self._group = group
        sample = group.samples[0] if group.samples else None
        self._headline = headline(group)
        self._message = one_line(shortened(sample.message, size.message)) if sample else ""
        self._trace = block(shortened(sample.traceback, trace)).rstrip() if sample and trace else ""
        crumbs = sample.breadcrumbs if sample and trace else ()
        self._breadcrumbs = [one_line(shortened(crumb, size.message)) for crumb in crumbs]
        self._facts = [one_line(fact) for fact in _facts(group)]

    def text(self, command: str, page: str) -> str:
        lines = (*self._facts, *links(self._group, page), *commands(self._group, command))
        parts = [f"{'=' * 72}\n{self._headline}", "\n".join(lines)]
        parts += [part for part in (self._message, self._trace) if part]
        if self._breadcrumbs:
            parts.append("\n  ".join(("Earlier records of the same work:", *self._breadcrumbs)))
        return "\n\n".join(parts)

    def html(self, command: str, page: str) -> str:
        anchors = [f'<a href="{html.escape(link)}">{html.escape(link)}</a>' for link in links(self._group, page)]
        facts = "<br>\n".join((*map(html.escape, self._facts), *anchors))
        typed = "<br>\n".join(f"<code>{html.escape(line)}</code>" for line in commands(self._group, command))
        parts = [f"<h2>{html.escape(self._headline)}</h2>", f"<p>{facts}</p>", f"<p>{typed}</p>" if typed else ""]
        if self._message:
            parts.append(f"<p>{html.escape(self._message)}</p>")
        if self._trace:
            parts.append(f"<pre>{html.escape(self._trace)}</pre>")
        if self._breadcrumbs:
            parts.append(
                f"<p>Earlier records of the same work:</p>\n<pre>{html.escape(chr(10).join(self._breadcrumbs))}</pre>"
            )
        return "\n".join(filter(None, parts))


def in_full(group: Group) -> str:
    """Return one group as plain text, as in a digest."""
    return _Detailed(group, Size(), TRACES_LIMIT).text("", "")


def headline(group: Group) -> str:
    """Return the group in one short line: the last line of its traceback, or the message of a plain record."""
    sample = group.samples[0] if group.samples else None
    if sample is None:
        words = group.title
    elif sample.traceback:
        words = exception_line(sample.traceback, group.title)
    else:
        words = f"{logging.getLevelName(group.level)}: {sample.message}"
    line = one_line(words[: 2 * HEADLINE_LIMIT])
    return line if len(line) <= HEADLINE_LIMIT else f"{line[: HEADLINE_LIMIT - 1]}…"


def _facts(group: Group) -> Iterator[str]:
    new = group.count - group.reported
    again = f", again since {_moment(_reopened_at(group))}" if group.reopened else ""
    yield f"{new} new, {group.count} altogether{again}"
    yield f"first {_moment(group.first_seen)}, last {_moment(group.last_seen)}"
    sample = group.samples[0] if group.samples else None
    function = f" in {sample.function}" if sample else ""
    yield f"{logging.getLevelName(group.level)} of {group.logger} at {group.place}{function}"
    if sample and (sample.method or sample.route):
        who = "" if sample.user_id is None else f", user {sample.user_id}"
        yield f"{sample.method or '-'} {sample.route or '-'}{who}"
    if ids := [sample.error_id for sample in group.samples[:new]]:
        yield f"ids {' '.join(ids)}"


def _reopened_at(group: Group) -> float:
    """Return when the failure came back after it was resolved, as far as the samples show."""
    resolved = group.resolved_at or 0.0
    return min((sample.created for sample in group.samples if sample.created > resolved), default=group.last_seen)


def links(group: Group, page: str) -> list[str]:
    """Return the address of the group's page, if `page` and the group have one."""
    # Another process does not know the number of a group that is only in memory.
    return [f"{page}{group.id}"] if page and group.id > 0 else []


def commands(group: Group, command: str) -> list[str]:
    """Return the commands that show and close the group, if operators have a `command`."""
    return [f"{command} errors {verb} {_key(group)}" for verb in ("show", "resolve")] if command else []


def _key(group: Group) -> int | str:
    # A group that is only in memory will get another id; its fingerprint stays.
    return group.id if group.id > 0 else group.fingerprint


def name_of(group: Group) -> str:
    """Return the group in one short line, with less of it each time a server has refused its content."""
    if not group.refusals:
        return headline(group)
    if group.refusals == 1:
        return one_line(f"{shortened(group.title, HEADLINE_LIMIT)} at {group.place}")
    return f"group {_key(group)}"


def _rest(groups: Sequence[Group], listed: int, more: int) -> Iterator[str]:
    """Yield one line for each group without details, and one for the groups that only count."""
    for group in groups[:listed]:
        yield f"{group.count - group.reported} new, {group.count} altogether: {name_of(group)}"
    if more := more + max(0, len(groups) - listed):
        yield f"and {counted(more, 'more kind')}"


def _paragraphs(head: list[str], detailed: list[str], rest: list[str]) -> Iterator[str]:
    yield from head
    yield from detailed
    if rest:
        yield f"{'=' * 72}\nAlso:\n" + "\n".join(rest)


def _document(detailed: list[str], head: list[str], rest: list[str]) -> str:
    also = "".join(f"<li>{html.escape(line)}</li>\n" for line in rest)
    return "\n".join((
        "<!DOCTYPE html>",
        '<html><head><meta charset="utf-8"></head>',
        '<body style="font-family: sans-serif">',
        *(f"<p>{html.escape(line)}</p>" for line in head),
        *detailed,
        f"<h2>Also</h2>\n<ul>\n{also}</ul>" if also else "",
        "</body></html>",
    ))  # fmt: skip


def _moment(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).astimezone().isoformat(sep=" ", timespec="seconds")
