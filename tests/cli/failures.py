"""Failures and mails as workers leave them in the outbox."""

import logging
from dataclasses import replace

from quartblog.delivery import Event
from quartblog.delivery.store.mails import Kind, NewMail

NOON = 1_800_000_000.0
"""An epoch second."""

TRACEBACK = """Traceback (most recent call last):
  File "blog/views.py", line 7, in publish
    return int(text)
ValueError: invalid literal for int() with base 10: 'twelve'"""

FAILURE = Event(
    error_id="aaaaaaaaaaaa",
    fingerprint="0123456789abcdef",
    title="ValueError",
    level=logging.ERROR,
    logger="quartblog.posts",
    message="Exception on request POST /",
    place="blog/views.py:7",
    function="publish",
    created=NOON,
    method="POST",
    route="/posts/<id>",
    user_id=7,
    traceback=TRACEBACK,
    breadcrumbs=("12:00:00 INFO quartblog: looked up a post", "12:00:00 WARNING quartblog: found none"),
    process=4711,
)


def failures(count: int, *, fingerprint: str = FAILURE.fingerprint, **changes: object) -> list[Event]:
    """Equal failures, a second apart, with ids that end in their number."""
    return [
        replace(
            FAILURE,
            fingerprint=fingerprint,
            error_id=f"{fingerprint[:6]}{number:06}",
            created=NOON + number,
            **changes,  # type: ignore[arg-type]  # a test changes what it likes
        )
        for number in range(count)
    ]


def new_mail(
    subject: str = "a digest", *, to: tuple[str, ...] = ("ada@example.org",), kind: Kind = "digest"
) -> NewMail:
    """A mail that was never sent."""
    return NewMail("<1@example.org>", subject, b"Subject: x\r\n\r\nbody\r\n", to, kind)
