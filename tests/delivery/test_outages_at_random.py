"""Whatever fails when: three processes on one outbox tell of every error in exactly one mail, and send no mail twice.

Each may be in the middle of a mail while the others work, the disk fails or time goes by. One of them leads.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import random
import re
import sqlite3
from typing import TYPE_CHECKING, Any, Self

import pytest

from quartblog.delivery import MailOptions
from quartblog.delivery.mail import sender as postman
from quartblog.delivery.mail.sender import Sender
from quartblog.delivery.mail.smtp import MailFailed, Receipt
from quartblog.delivery.options import MailingOptions
from quartblog.delivery.store import database as database_file
from quartblog.delivery.store.fallback import RETRY_SECONDS
from quartblog.delivery.store.outbox import Outbox

from .outboxes import Clock, event

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

LEADER = 0
MAIL = MailOptions(server="127.0.0.1", port=25, sender="blog@example.org", admins=("ada@example.org",))
AT_ONCE = MailingOptions(batch_seconds=0.0, window_seconds=0.0, mails_per_hour=1_000_000, retry_min=0.1, retry_max=0.1)

_NEW = re.compile(r"^(\d+) new, ", re.MULTILINE)


class Host:
    """Three processes, a disk that fails now and then, and a mail server. `chance` decides what happens next."""

    def __init__(self, path: Path, chance: random.Random, patch: pytest.MonkeyPatch) -> None:
        self.failed = 0
        self.told = 0
        self.mails: list[str] = []
        self._path, self._random = path, chance
        self._clock = Clock()
        self._blocker: sqlite3.Connection | None = None
        self._working: list[int] = []
        self._calm = False
        self._boxes = [Outbox(path, clock=self._clock) for _ in range(3)]
        self._boxes[LEADER].groups()  # From here on there is a file.
        self._postmen = [Sender(box, MAIL, AT_ONCE, clock=self._clock) for box in self._boxes]
        for box in self._boxes:
            patch.setattr(box, "latest_digests", self._interrupted(box.latest_digests))
        # Not a real server: the steps that happen while it answers are this test's to choose.
        patch.setattr(postman, "send", self._send)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for box in self._boxes:
            box.close()
        self._end_outage()

    def live(self) -> None:
        """Let things happen."""
        for _ in range(30):
            self._step()
            if self._chance(2):
                self._work(self._up_to(2))

    def rest(self) -> None:
        """All is well again, for long enough."""
        self._calm = True
        self._end_outage()
        for box in self._boxes:
            self._clock.turn(RETRY_SECONDS)
            box.groups()
            assert not box.in_memory
        for _ in range(5):
            self._clock.turn(RETRY_SECONDS)
            self._work(LEADER)

    def counted(self) -> tuple[int, int]:
        """What the outbox has counted, and of how much of it mails have told."""
        groups = self._boxes[LEADER].groups()
        return sum(group.count for group in groups), sum(group.reported for group in groups)

    def _step(self) -> None:
        match self._up_to(5):
            case 0 | 1:
                times = 1 + self._up_to(2)
                self.failed += times
                self._boxes[self._up_to(2)].record([event("aa" if self._chance(2) else "bb")] * times)
            case 2:
                self._clock.turn(RETRY_SECONDS if self._chance(2) else 0.5)
            case 3:
                self._boxes[self._up_to(2)].groups()
            case _ if self._blocker is None:
                self._begin_outage()
            case _:
                self._end_outage()

    def _work(self, number: int) -> None:
        """One round of a mailer, as it would be."""
        if number == LEADER or self._boxes[number].in_memory:
            self._working.append(number)
            # It waits for nothing but `_send`, which never does.
            with contextlib.suppress(StopIteration):
                self._postmen[number].work(leads=lambda: number == LEADER).send(None)
            self._working.pop()

    async def _send(self, data: bytes, *_: object) -> Receipt:
        self._meanwhile()
        if not self._calm and self._chance(8):
            raise MailFailed("451 later")
        message = email.message_from_bytes(data, policy=email.policy.default)
        body = message.get_body(("plain",))
        assert body is not None
        self.told += sum(map(int, _NEW.findall(body.get_content())))
        self.mails.append(message["Message-ID"])
        return Receipt("250", {})

    def _interrupted(self, latest_digests: Any) -> Any:
        """A digest is being written: its groups were read, it is not stored yet."""

        def interrupted(limit: int) -> list[float]:
            self._meanwhile()
            found: list[float] = latest_digests(limit)
            return found

        return interrupted

    def _meanwhile(self) -> None:
        if self._calm:
            return
        for _ in range(self._up_to(3)):
            self._step()
        others = [number for number in range(3) if number not in self._working]
        if others and self._chance(2):
            self._work(self._random.choice(others))

    def _begin_outage(self) -> None:
        self._blocker = sqlite3.connect(self._path, isolation_level=None, timeout=0)
        self._blocker.execute("BEGIN IMMEDIATE")

    def _end_outage(self) -> None:
        if self._blocker is not None:
            self._blocker.close()
            self._blocker = None

    def _chance(self, of: int) -> bool:
        return self._up_to(of - 1) == of - 1

    def _up_to(self, most: int) -> int:
        return self._random.randint(0, most)


@pytest.mark.parametrize("seed", range(40))
def test_every_error_is_in_exactly_one_mail(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_file, "BUSY_SECONDS", 0.0)
    with Host(tmp_path / "outbox.sqlite3", random.Random(seed), monkeypatch) as host:
        host.live()
        host.rest()

        assert host.told == host.failed
        assert host.counted() == (host.failed, host.failed)
        assert len(set(host.mails)) == len(host.mails)
