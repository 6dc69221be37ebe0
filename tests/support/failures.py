"""Test -> events, groups and mails as workers leave them in the outbox, changed as the test asks."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from quartblog.delivery import Event
from quartblog.delivery.store.groups import Group
from quartblog.delivery.store.mails import NewMail, Result
from tests.support.clocks import START

if TYPE_CHECKING:
    from quartblog.delivery import Outbox
    from quartblog.delivery.store.workers import Lease

TRACEBACK = """Traceback (most recent call last):
  File "app.py", line 12, in edit
    int(text)
ValueError: twelve"""

Tried = Result
"""The result of one try to send a mail, for tests that play the sender."""

EVENT = Event(
    error_id="0123456789ab",
    fingerprint="00000000000000aa",
    title="ValueError",
    level=logging.ERROR,
    logger="blog.profile",
    message="the edit failed",
    place="app.py:12",
    function="edit",
    created=START,
    method="POST",
    route="/user/edit",
    user_id=7,
    traceback=TRACEBACK,
    process=4711,
)
"""An edit of a visitor that failed."""

_numbers = itertools.count()


def an_event(fingerprint: str = EVENT.fingerprint, **changes: Any) -> Event:
    """A failed edit with this fingerprint."""
    return replace(EVENT, fingerprint=fingerprint, **changes)


def events(count: int, fingerprint: str = EVENT.fingerprint, **changes: Any) -> list[Event]:
    """Equal failures, a second apart, with ids that end in their number."""
    return [
        an_event(fingerprint, **{"error_id": f"{fingerprint[-6:]}{number:06}", "created": START + number} | changes)
        for number in range(count)
    ]


def a_group(**changes: Any) -> Group:
    """A group that failed for the first time."""
    event: Event = changes.pop("event", EVENT)
    group = Group(
        id=3,
        fingerprint=event.fingerprint,
        title=event.title,
        level=event.level,
        logger=event.logger,
        count=1,
        reported=0,
        first_seen=event.created,
        last_seen=event.created,
        last_reported=None,
        reopened=False,
        samples=(event,),
        place=event.place,
        route=event.route,
    )
    return replace(group, **changes)


def a_digest(
    outbox: Outbox,
    subject: str = "a digest",
    *,
    to: tuple[str, ...] = ("ada@example.org",),
    data: bytes = b"Subject: x\r\n\r\nbody\r\n",
    lease: Lease | None = None,
) -> int:
    """Store a digest about all errors that no mail has reported, and return its id."""
    leads = lease or outbox.sending.lead("the leader of a test")
    assert leads is not None
    number = outbox.sending.begin_digest(to, leads)
    if lease is None:
        outbox.sending.resign(leads)
    content = outbox.sending.content(number)
    assert content is not None
    assert outbox.sending.compose(number, NewMail("<1@example.org>", subject, data, to, "digest"), content)
    return number


def report_all(outbox: Outbox) -> None:
    """Let a digest report all errors, and let the mail server accept it."""
    assert outbox.sending.sent(a_digest(outbox), Result("250"))


def a_message(text: str = "follow this link", *, subject: str = "密码") -> EmailMessage:
    """A message that the site sends by itself."""
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "blog@example.org"
    message["To"] = "ada@example.org"
    message.set_content(text)
    return message


def long_text(characters: int) -> str:
    """A text that equals no other one."""
    return f"{next(_numbers)} ".ljust(characters, "t")
