"""Outbox of a running site -> many groups of errors in every state, and mails with every fate.

PLAIN and the others are error ids: `/operations/errors?q=ID` leads to the group.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING

from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.store.mails import Result
from tests.support.failures import TRACEBACK, a_digest, a_message, an_event, report_all

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = 60
"""More than a page shows."""

PLAIN = "0000000plain"
RESOLVED = "0000resolved"
MUTED = "0000000muted"
HOSTILE = "00000hostile"
LONG = "00000000long"
EARLIEST = f"{PLAIN[4:]}0001"
"""An id of the group of PLAIN, of which only the id is left."""
MARKUP = '"\'><svg/onload=alert(1)><script>alert(1)</script><a href="javascript:alert(1)">x</a></pre></textarea>'
HOSTILE_TEXT = f"{MARKUP}{{{{ 7 * 7 }}}}{{% raw %}}\u202ereversed\u2066\u200b\x1b[31m\x00\ud800{'W' * 3_000}"


def trouble(folder: Path) -> None:
    """Fill the outbox below the folder of a site."""
    with closing(Outbox(OutboxOptions(folder / "instance" / "outbox.sqlite3"))) as outbox:
        outbox.open()
        now = time.time()
        for number in range(GROUPS):
            outbox.record([
                an_event(
                    f"many{number:012x}",
                    error_id=f"{number:06}{repeat:06}",
                    title=("ValueError", "sqlalchemy.exc.OperationalError", "TimeoutError")[number % 3],
                    message=f"the edit of post {number} failed: a value is out of its range",
                    level=logging.CRITICAL if number % 7 == 0 else logging.ERROR,
                    created=now - 60 * number,
                    user_id=repeat,
                )
                for repeat in range(1 + number % 5)
            ])  # fmt: skip
        report_all(outbox)
        _record(outbox, PLAIN, 12, breadcrumbs=tuple(f"12:00:0{line} INFO blog: read post {line}" for line in range(5)))
        _record(outbox, RESOLVED)
        _record(outbox, MUTED)
        _record(outbox, LONG, title="OperationalError", message="字" * 4_000, route="/" + "path/" * 60, place="x" * 300)
        _record(outbox, HOSTILE, 3, **dict.fromkeys(("title", "message", "logger", "place", "function"), HOSTILE_TEXT),
            method=MARKUP, route=HOSTILE_TEXT, user_id=HOSTILE_TEXT, breadcrumbs=(HOSTILE_TEXT,),
            traceback=TRACEBACK.replace("twelve", HOSTILE_TEXT).replace("app.py", MARKUP))  # fmt: skip
        outbox.note(PLAIN, "looked at it:\nthe form is old", who="ops")
        outbox.resolve(RESOLVED, who="ops", note="the form is new")
        outbox.mute(MUTED, 3_600.0, 10, who="ops")
        outbox.note(HOSTILE, HOSTILE_TEXT, who=MARKUP)
        dead = a_digest(outbox, f"博客异常 {HOSTILE_TEXT[:300]}")
        outbox.sending.dead(dead, Result(f"550 5.7.1 {HOSTILE_TEXT[:300]}"))
        waiting = outbox.post(a_message(), ["ops@example.org"])
        outbox.sending.failed(waiting, Result("451 4.3.0 try again later", wait=86_400.0))


def _record(outbox: Outbox, name: str, count: int = 1, **changes: object) -> None:
    # The last one has the name.
    ids = [*(f"{name[4:]}{number:04}" for number in range(1, count)), name]
    outbox.record([
        an_event(f"one-{name}", **{"error_id": one, "created": time.time() - 1, "user_id": place, **changes})
        for place, one in enumerate(ids)
    ])  # fmt: skip
