"""Groups of errors -> a table, a text or JSON for `quartblog errors`."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from quartblog.cli.output import cells, clipped, count, iso, moment, span, table
from quartblog.cli.plot import line
from quartblog.delivery.tools import block, headline, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from quartblog.delivery import Details, Event, Fate, Found, Group

WHAT = 60
"""Terminal cells of the column `what` where nothing limits the width."""
LEAST = 28
"""Cells of the column `what` for which other columns make room."""


class _Column(NamedTuple):
    title: str
    cell: Callable[[Found], str]
    need: int
    """Columns with the highest need leave a narrow table first; those with 0 stay."""
    right: bool = False


def listed(groups: Sequence[Found], width: int | None, *, ascii_only: bool) -> str:
    """Return the table of `errors list`, with the columns that fit into `width` cells; None has room for all."""
    now = time.time()
    columns = [
        _Column("id", lambda found: str(found.group.id), 0, right=True),
        _Column("count", lambda found: f"{found.group.count:,}", 0, right=True),
        _Column("to mail", lambda found: f"{found.group.count - found.group.reported:,}", 5, right=True),
        _Column("users", lambda found: _users(found.group), 2, right=True),
        _Column("last", lambda found: f"{span(now - found.group.last_seen, 1)} ago", 0),
        _Column("first", lambda found: moment(found.group.first_seen), 7),
        _Column("24 hours", lambda found: line(found.hours, ascii_only=ascii_only), 4),
        _Column("level", lambda found: logging.getLevelName(found.group.level), 6),
        _Column("state", lambda found: found.group.state, 0),
        _Column("mail", lambda found: found.fate.state if found.fate else "-", 1),
        _Column("what", lambda found: one_line(headline(found.group)), 0),
        _Column("where", lambda found: found.group.place, 3),
    ]
    texts = {column.title: [one_line(column.cell(found)) for found in groups] for column in columns}
    taken = {column.title: 2 + max(map(cells, [column.title, *texts[column.title]])) for column in columns}
    del taken["what"]
    if width is not None:
        for column in sorted(columns, key=lambda column: -column.need):
            if column.need and width - sum(taken.values()) < LEAST:
                columns.remove(column)
                del taken[column.title]
    room = WHAT if width is None else max(LEAST, width - sum(taken.values()))
    texts["what"] = [clipped(text, room) for text in texts["what"]]
    head = [column.title for column in columns]
    rows = zip(*(texts[title] for title in head), strict=True)
    return table([head, *rows], right=frozenset(place for place, column in enumerate(columns) if column.right))


def _users(found: Group) -> str:
    return f"{found.users:,}" if found.users_exact else f"{found.users - 1:,}+"


def in_full(found: Group, details: Details, event: Event | None) -> Iterator[str]:
    """Yield the parts of `errors show`, with one of the group's errors."""
    now = time.time()
    state = found.state
    if state == "muted" and found.muted_more is not None:
        state += f" until more than {count(found.muted_more, 'error')} in {span(found.muted_window or 0.0)}"
    elif state == "muted":
        state += f" until {moment(found.muted_until or 0.0)}"
    users = f"{found.users:,}" if found.users_exact else f"more than {found.users - 1:,}"
    facts = [
        ("state", state),
        ("count", f"{found.count:,}, {found.count - found.reported:,} of them not mailed yet"),
        ("users", users),
        ("first", f"{moment(found.first_seen)} ({span(now - found.first_seen)} ago)"),
        ("last", f"{moment(found.last_seen)} ({span(now - found.last_seen)} ago)"),
        ("release", _releases(found) or "-"),
        ("level", f"{logging.getLevelName(found.level)} of {found.logger}"),
        ("place", f"{found.place} in {found.function}"),
        ("ids", " ".join(sample.error_id for sample in found.samples) or "no longer kept"),
    ]
    yield f"{found.id}: {headline(found)}"
    yield table(facts)
    if details.mails:
        yield "\nMails:"
        yield table([_fate(mail) for mail in details.mails[:10]])
    if details.history:
        yield "\nHistory:"
        yield table([(moment(past.at), past.who or "-", past.what, past.note) for past in details.history])
    if (asked := details.asked) is not None and (event is None or event.error_id != asked.error_id):
        user = "" if asked.user_id is None else f", user {one_line(asked.user_id)}"
        yield f"\nError {one_line(asked.error_id)}, {moment(asked.created)}{user}: its text is no longer kept"
    if event is None:
        return
    yield f"\nError {one_line(event.error_id)}, {moment(event.created)}:"
    yield table(
        [
            ("request", f"{event.method or '-'} {event.route or '-'}"),
            ("user", "-" if event.user_id is None else str(event.user_id)),
            ("process", str(event.process)),
            ("message", event.message),
        ]
    )
    if event.traceback:
        yield f"\n{block(event.traceback).rstrip()}"
    if event.breadcrumbs:
        yield "\n  ".join(("\nEarlier records of the request:", *map(one_line, event.breadcrumbs)))


def _releases(found: Group) -> str:
    if found.first_release == found.last_release:
        return found.first_release
    return f"first {found.first_release or '?'}, last {found.last_release or '?'}"


def _fate(mail: Fate) -> tuple[str, ...]:
    return f"{mail.mail}", mail.kind, mail.state, count(mail.count, "error"), moment(mail.created), mail.why


def summary(found: Group) -> dict[str, Any]:
    """Return the facts of a group that every command with --json prints."""
    return {
        "id": found.id,
        "fingerprint": found.fingerprint,
        "what": headline(found),
        "level": logging.getLevelName(found.level),
        "logger": found.logger,
        "place": found.place,
        "function": found.function,
        "route": found.route,
        "state": found.state,
        "count": found.count,
        "reported": found.reported,
        "first_seen": iso(found.first_seen),
        "last_seen": iso(found.last_seen),
        "last_reported": iso(found.last_reported),
        "resolved_at": iso(found.resolved_at),
        "muted_until": iso(found.muted_until) if found.state == "muted" else None,
        "muted_more": found.muted_more,
        "muted_window": found.muted_window if found.muted_more is not None else None,
        "users": found.users,
        "users_exact": found.users_exact,
        "first_release": found.first_release,
        "last_release": found.last_release,
        "latest_error_id": found.samples[0].error_id if found.samples else None,
    }


def listed_data(found: Found) -> dict[str, Any]:
    """Return a group as `errors list --json` has it."""
    return summary(found.group) | {
        "last_24_hours": list(found.hours),
        "mail": None if found.fate is None else _mail(found.fate),
    }


def whole(found: Group, details: Details) -> dict[str, Any]:
    """Return a group as `errors show --json` has it."""
    return summary(found) | {
        "samples": [_sample(event) for event in found.samples],
        "hours": {iso(hour * 3_600.0): number for hour, number in details.hours.items()},
        "ids": [
            {"error_id": quoted.error_id, "time": iso(quoted.created), "user_id": quoted.user_id}
            for quoted in details.ids
        ],
        "history": [
            {"time": iso(past.at), "who": past.who, "what": past.what, "note": past.note} for past in details.history
        ],
        "mails": [_mail(mail) for mail in details.mails],
    }


def _mail(mail: Fate) -> dict[str, Any]:
    return {
        "id": mail.mail,
        "kind": mail.kind,
        "state": mail.state,
        "count": mail.count,
        "created": iso(mail.created),
        "finished": iso(mail.finished),
        "why": mail.why,
    }


def _sample(event: Event) -> dict[str, Any]:
    return {
        "error_id": event.error_id,
        "time": iso(event.created),
        "level": logging.getLevelName(event.level),
        "message": event.message,
        "method": event.method,
        "route": event.route,
        "user_id": event.user_id,
        "process": event.process,
        "traceback": event.traceback,
        "breadcrumbs": list(event.breadcrumbs),
    }
