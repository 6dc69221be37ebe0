"""Mails of the outbox -> a table or JSON for operators, without the texts, and without visitors' addresses."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from quartblog.cli.output import clipped, iso, span, table
from quartblog.delivery.tools import one_line
from quartblog.operations.trial_mail import TEST

if TYPE_CHECKING:
    from quartblog.delivery import StoredMail

_SUBJECT, _REASON = 50, 80
_ADDRESS = re.compile(r"""([^\s<>@,;:"'()])[^\s<>@,;:"'()]*@([^\s<>@,;:"'()]+)""")


def as_text(mails: list[StoredMail]) -> str:
    """Return the mails as a table."""
    now = time.time()
    head = ("id", "state", "kind", "since", "tries", "next try", "to", "subject", "why")
    rows = [
        (
            str(mail.id),
            mail.state,
            _kind(mail),
            f"{span(now - mail.created)} ago",
            str(mail.tries),
            _next_try(mail, now),
            ", ".join(_readers(mail)),
            clipped(_subject(mail), _SUBJECT),
            clipped(_reason(mail), _REASON),
        )
        for mail in mails
    ]
    return table([head, *rows], right=frozenset({0, 4}))


def _next_try(mail: StoredMail, now: float) -> str:
    if mail.state != "waiting":
        return "-"
    return f"in {span(mail.next_try - now)}" if mail.next_try > now else "now"


def as_data(mail: StoredMail) -> dict[str, Any]:
    """Return one mail for JSON."""
    return {
        "id": mail.id,
        "state": mail.state,
        "kind": _kind(mail),
        "message_id": mail.message_id,
        "subject": _subject(mail),
        "recipients": _readers(mail),
        "created": iso(mail.created),
        "tries": mail.tries,
        "next_try": iso(mail.next_try) if mail.state == "waiting" else None,
        "finished": iso(mail.finished),
        "why": _reason(mail),
    }


def _kind(mail: StoredMail) -> str:
    return "test" if mail.kind == "post" and f".{TEST}@" in mail.message_id else mail.kind


def _readers(mail: StoredMail) -> list[str]:
    return [masked(address) if _kind(mail) == "post" else one_line(address) for address in mail.recipients]


def _subject(mail: StoredMail) -> str:
    # The subject of a product mail may name its recipient.
    return "(product mail)" if _kind(mail) == "post" else mail.subject


def _reason(mail: StoredMail) -> str:
    return masked(mail.last_error) if _kind(mail) == "post" else mail.last_error


def masked(text: str) -> str:
    """Mask the local part of each address in the text; an operator needs only the domain."""
    return _ADDRESS.sub(r"\1***@\2", text)
