"""What the tests of mailing share: a clock of their own, events, groups."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from quartblog.delivery.grouping.event import Event
from quartblog.delivery.store.groups import Group

NOON = 1_750_000_000.0
"""When the tests begin, in epoch seconds."""
TRACE = 'Traceback (most recent call last):\n  File "app.py", line 12, in edit\n    int(text)\nValueError: twelve'


def an_event(created: float = NOON, **changes: Any) -> Event:
    """A failed edit of a visitor, changed as asked."""
    event = Event(
        error_id="0123456789ab",
        fingerprint="00000000000000aa",
        title="ValueError",
        level=logging.ERROR,
        logger="blog.profile",
        message="the edit failed",
        place="app.py:12",
        function="edit",
        created=created,
        method="POST",
        route="/user/edit",
        user_id=7,
        traceback=TRACE,
    )
    return dataclasses.replace(event, **changes)


def a_group(**changes: Any) -> Group:
    """A group that failed for the first time, changed as asked."""
    event: Event = changes.pop("event", an_event())
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
    return dataclasses.replace(group, **changes)
