"""What the tests of the outbox share: a clock one may turn, events, mails, and programs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from quartblog.delivery.grouping.events import Event
from quartblog.delivery.outbox.outbox import NewMail

ROOT = Path(__file__).parents[2]
START = 1_700_000_000.0


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds


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


def mail(subject: str = "one", *, to: tuple[str, ...] = ("ada@example.org",), data: bytes = b"the mail") -> NewMail:
    return NewMail(f"<{subject}@example.org>", subject, data, to)


def message(text: str = "follow this link") -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = "密码"
    made["From"] = "blog@example.org"
    made["To"] = "ada@example.org"
    made.set_content(text)
    return made


def program(source: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python of its own that runs the source; what it would only warn of ends it."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", source, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(running: subprocess.Popen[str]) -> str:
    """What it printed; fails when it failed or complained."""
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, ""), err
    return out
