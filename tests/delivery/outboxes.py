"""What the tests of the outbox share: events and mails."""

from __future__ import annotations

import itertools
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

from quartblog.delivery.grouping.event import Event
from quartblog.delivery.store.mails import NewMail
from tests.support.clocks import START

_numbers = itertools.count()

EVENT = Event(
    error_id="0123456789ab",
    fingerprint="00000000000000aa",
    title="ValueError",
    level=40,
    logger="app",
    message="it failed",
    place="app/views.py:12",
    function="show",
    created=START,
)


def event(fingerprint: str = EVENT.fingerprint, **changes: Any) -> Event:
    return replace(EVENT, fingerprint=fingerprint, **changes)


def long(characters: int) -> str:
    """A traceback that no other one equals."""
    return f"{next(_numbers)} ".ljust(characters, "t")


def mail(subject: str = "one", *, to: tuple[str, ...] = ("ada@example.org",), data: bytes = b"the mail") -> NewMail:
    return NewMail(f"<{subject}@example.org>", subject, data, to)


def message(text: str = "follow this link") -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = "密码"
    made["From"] = "blog@example.org"
    made["To"] = "ada@example.org"
    made.set_content(text)
    return made
