"""Mails of the outbox -> what an operator may see of them: never their text, and of product mail not their reader."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from quartblog.cli.output import clipped, iso, span, table
from quartblog.delivery.text.escaping import one_line

if TYPE_CHECKING:
    from quartblog.delivery.outbox.stored import StoredMail

_SUBJECT, _REASON = 50, 80
_ADDRESS = re.compile(r"""([^\s<>@,;:"'()])[^\s<>@,;:"'()]*@([^\s<>@,;:"'()]+)""")


def as_text(mails: list[StoredMail]) -> str:
    """A table of them."""
    now = time.time()
    head = ("id", "state", "kind", "since", "tries", "next try", "to", "subject", "why")
    rows = [
        (
            str(mail.id),
            mail.state,
            mail.kind,
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
    """One of them for JSON."""
    return {
        "id": mail.id,
        "state": mail.state,
        "kind": mail.kind,
        "message_id": mail.message_id,
        "subject": _subject(mail),
        "recipients": _readers(mail),
        "created": iso(mail.created),
        "tries": mail.tries,
        "next_try": iso(mail.next_try) if mail.state == "waiting" else None,
        "finished": iso(mail.finished),
        "why": _reason(mail),
    }


def _readers(mail: StoredMail) -> list[str]:
    return [masked(address) if mail.kind == "post" else one_line(address) for address in mail.recipients]


def _subject(mail: StoredMail) -> str:
    # The subject of product mail may name its reader.
    return "(product mail)" if mail.kind == "post" else mail.subject


def _reason(mail: StoredMail) -> str:
    return masked(mail.last_error) if mail.kind == "post" else mail.last_error


def masked(text: str) -> str:
    """The text with each mail address only as far as an operator needs it: whose server it is, not who."""
    return _ADDRESS.sub(r"\1***@\2", text)
