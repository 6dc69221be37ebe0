"""What the tests of the outbox share: a clock one may turn, events, mails, and programs of their own."""

from __future__ import annotations

import itertools
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

from quartblog.delivery.grouping.event import Event
from quartblog.delivery.store.mails import NewMail

START = 1_700_000_000.0


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds


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
