"""Groups that are due -> one mail: a subject that tells the worst, and for each group what an operator needs.

Whatever a stranger typed is escaped: it cannot add a header, leave its line or become markup.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import html
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..text import counted
from ..text.escaping import block, one_line, shortened
from .message import new_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from email.message import EmailMessage

    from ..options import MailOptions
    from ..store.groups import Group

DETAILED = 20
"""Groups that are told in full; of the others the digest has one line each."""
LISTED = 200
"""Groups that get a line; how many more there are is told."""
HEADLINE_LIMIT = 120
"""Characters of the line that names a group."""
TRACES_LIMIT = 200_000
"""Characters of all tracebacks together, shared out among the groups that are told in full."""
MESSAGE_LIMIT = 2_000
"""Characters of one message; the whole is in the log file."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The groups one mail tells of, with the facts that belong to none of them."""

    groups: Sequence[Group]
    host: str
    """Where it happened: counts and ids are this host's."""
    cap: int = 0
    """Mails an hour, for the sentence about what was held back."""
    held_since: float | None = None
    """Epoch second since which the cap held mails back, None where it did not."""

    @property
    def errors(self) -> int:
        """Failures that no mail to the admins has told of yet."""
        return sum(group.count - group.reported for group in self.groups)

    def message(self, options: MailOptions, to: Sequence[str] | None = None) -> EmailMessage:
        """The mail, complete with Date and Message-ID: to the admins, or to others with their own To."""
        groups = sorted(self.groups, key=lambda group: (group.level, group.count - group.reported), reverse=True)
        told = [_Told(group, TRACES_LIMIT // min(len(groups), DETAILED)) for group in groups[:DETAILED]]
        head = list(self._head(options))
        rest = list(_rest(groups[DETAILED:]))
        return new_message(
            options,
            self._subject(groups, options),
            "\n\n".join(_paragraphs(head, [part.text(options.command) for part in told], rest)),
            html=_document([part.html(options.command) for part in told], head, rest),
            to=to,
            # The last one is the parent of the mail, where a mail program shows a tree.
            conversations=[self._conversation(group, options) for group in reversed(groups[:DETAILED])],
        )

    def _subject(self, groups: Sequence[Group], options: MailOptions) -> str:
        """The worst error first, as mail programs show the beginning, and what changes last."""
        more = f" (+{len(groups) - 1} more)" if len(groups) > 1 else ""
        where = f"{options.title} {options.site} on {self.host}".lstrip()
        return f"{headline(groups[0])}{more} ({where}, {counted(self.errors, 'error')})"

    def _conversation(self, group: Group, options: MailOptions) -> str:
        """The same name for every digest about the group, and another one on another host."""
        place = hashlib.sha256(f"{options.site}\0{self.host}".encode(errors="replace")).hexdigest()[:12]
        return f"{hashlib.sha256(group.fingerprint.encode(errors='replace')).hexdigest()[:16]}.{place}"

    def _head(self, options: MailOptions) -> Iterator[str]:
        count = len(self.groups)
        kinds = "one kind" if count == 1 else f"{count} kinds"
        yield one_line(f"{options.site} on {self.host}: {counted(self.errors, 'error')} of {kinds}")
        if self.held_since is not None:
            yield (
                f"The cap held this back since {_moment(self.held_since)}:"
                f" {counted(self.cap, 'digest')} had left within the hour."
                " The counts below hold what happened meanwhile."
            )


class _Told:
    """One group told in full: the same facts as text and as HTML."""

    def __init__(self, group: Group, trace_limit: int) -> None:
        self._group = group
        sample = group.samples[0] if group.samples else None
        self._headline = headline(group)
        self._message = one_line(shortened(sample.message, MESSAGE_LIMIT)) if sample else ""
        self._trace = block(shortened(sample.traceback, trace_limit)).rstrip() if sample else ""
        self._before = [one_line(shortened(crumb, MESSAGE_LIMIT)) for crumb in sample.breadcrumbs] if sample else []
        self._facts = [one_line(fact) for fact in _facts(group)]

    def text(self, command: str) -> str:
        parts = [f"{'=' * 72}\n{self._headline}", "\n".join((*self._facts, *_commands(self._group, command)))]
        parts += [part for part in (self._message, self._trace) if part]
        if self._before:
            parts.append("\n  ".join(("The request before it:", *self._before)))
        return "\n\n".join(parts)

    def html(self, command: str) -> str:
        facts = "<br>\n".join(map(html.escape, self._facts))
        told = "<br>\n".join(f"<code>{html.escape(line)}</code>" for line in _commands(self._group, command))
        parts = [f"<h2>{html.escape(self._headline)}</h2>", f"<p>{facts}</p>", f"<p>{told}</p>" if told else ""]
        if self._message:
            parts.append(f"<p>{html.escape(self._message)}</p>")
        if self._trace:
            parts.append(f"<pre>{html.escape(self._trace)}</pre>")
        if self._before:
            parts.append(f"<p>The request before it:</p>\n<pre>{html.escape(chr(10).join(self._before))}</pre>")
        return "\n".join(filter(None, parts))


def in_full(group: Group) -> str:
    """One group as plain text, as a digest has it."""
    return _Told(group, TRACES_LIMIT).text("")


def headline(group: Group) -> str:
    """The group in one short line: the exception as its traceback ends, or the message of a plain record."""
    sample = group.samples[0] if group.samples else None
    if sample is None:
        words = group.title
    elif sample.traceback:
        words = _last_words(sample.traceback, group.title)
    else:
        words = f"{logging.getLevelName(group.level)}: {sample.message}"
    line = one_line(words[: 2 * HEADLINE_LIMIT])
    return line if len(line) <= HEADLINE_LIMIT else f"{line[: HEADLINE_LIMIT - 1]}…"


def _last_words(traceback: str, title: str) -> str:
    """`Type: message` as the traceback has it, notes and later lines of the message left out."""
    for line in reversed(traceback.splitlines()):
        words = line.lstrip(" |")
        if words == title or words.startswith(f"{title}: "):
            return words
    return title


def _facts(group: Group) -> Iterator[str]:
    new = group.count - group.reported
    again = f", again since {_moment(_return(group))}" if group.reopened else ""
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


def _return(group: Group) -> float:
    """When the failure came back after it was resolved, as far as the samples tell."""
    resolved = group.resolved_at or 0.0
    return min((sample.created for sample in group.samples if sample.created > resolved), default=group.last_seen)


def _commands(group: Group, command: str) -> list[str]:
    # What is only in memory yet will get another id; its fingerprint stays.
    key = group.id if group.id > 0 else group.fingerprint
    return [f"{command} errors {verb} {key}" for verb in ("show", "resolve")] if command else []


def _rest(groups: Sequence[Group]) -> Iterator[str]:
    """One line for each group that is not told in full."""
    for group in groups[:LISTED]:
        yield f"{group.count - group.reported} new, {group.count} altogether: {headline(group)}"
    if len(groups) > LISTED:
        yield f"and {counted(len(groups) - LISTED, 'more kind')}"


def _paragraphs(head: list[str], told: list[str], rest: list[str]) -> Iterator[str]:
    yield from head
    yield from told
    if rest:
        yield f"{'=' * 72}\nAlso:\n" + "\n".join(rest)


def _document(told: list[str], head: list[str], rest: list[str]) -> str:
    also = "".join(f"<li>{html.escape(line)}</li>\n" for line in rest)
    return "\n".join((
        "<!DOCTYPE html>",
        '<html><head><meta charset="utf-8"></head>',
        '<body style="font-family: sans-serif">',
        *(f"<p>{html.escape(line)}</p>" for line in head),
        *told,
        f"<h2>Also</h2>\n<ul>\n{also}</ul>" if also else "",
        "</body></html>",
    ))  # fmt: skip


def _moment(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).astimezone().isoformat(sep=" ", timespec="seconds")
