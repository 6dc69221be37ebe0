"""Whatever happens in whatever order: no error is uncounted or unreported, no mail is lost, cap and bound hold."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quartblog.delivery import MailOptions, Outbox, OutboxOptions
from quartblog.delivery.mail.sender import Sender
from quartblog.delivery.options import LEAST_BYTES, MailingOptions, Reader
from quartblog.delivery.store.fallback import RETRY_SECONDS
from tests.support.clocks import FakeClock
from tests.support.failures import a_message, an_event, long_text
from tests.support.smtp import Accepting, Away, CuttingShort, MailServer

if TYPE_CHECKING:
    from email.message import EmailMessage

HOUR, DAY, YEAR = 3_600.0, 86_400.0, 366 * 86_400.0
CAP = 2
ADA, GRACE, EVE = "ada@example.org", "grace@example.org", "eve@example.org"
MAILING = MailingOptions(mails_per_hour=CAP, retry_for=DAY, readers=(Reader((EVE,), logger="blog"),))

boxes = st.sampled_from([0, 1])
keys = st.sampled_from(["00000000000000aa", "00000000000000bb", "00000000000000cc"])


class Host(RuleBasedStateMachine):
    """Two processes of one host, which share an outbox; the machine plays their mail server, the disk and the clock."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="outbox-machine-"))
        self._data, self._elsewhere = self._folder / "data", self._folder / "elsewhere"
        self._clock = FakeClock()
        self._outboxes: list[Outbox] = []
        self._senders: list[Sender] = []
        self._server = MailServer()
        self._away = False
        self._number = 0
        self._recorded = 0
        self._recorded_of = Counter[str]()
        self._settled = 0
        self._posted: set[str] = set()
        self._purged: set[str] = set()
        self._digests: list[float] = []
        self._beyond_the_cap = 0

    @initialize()
    def start(self) -> None:
        self._data.mkdir()
        self._server.__enter__()
        self._open_all()

    def teardown(self) -> None:
        if self._away:
            self.disk_comes_back()
        for outbox in self._outboxes:
            outbox.close()
        self._server.__exit__(None, None, None)
        shutil.rmtree(self._folder)

    @rule(box=boxes, key=keys, times=st.integers(1, 5), size=st.sampled_from([100, 40_000]))
    def record(self, box: int, key: str, times: int, size: int) -> None:
        events = [an_event(key, traceback=long_text(size), created=self._clock.wall()) for _ in range(times)]
        assert self._outboxes[box].record(events) == times
        self._recorded += times
        self._recorded_of[key] += times
        self._within_the_bound(box)

    @rule(box=boxes, kinds=st.integers(50, 200))
    def record_many_kinds(self, box: int, kinds: int) -> None:
        events = []
        for _ in range(kinds):
            self._number += 1
            events.append(an_event(f"{self._number:016x}", place="p" * 3_000, created=self._clock.wall()))
        assert self._outboxes[box].record(events) == kinds
        self._recorded += kinds
        self._within_the_bound(box)

    @rule(box=boxes, size=st.sampled_from([1_000, 300_000]))
    def post(self, box: int, size: int) -> None:
        self._number += 1
        subject = f"mail {self._number}"
        self._outboxes[box].post(a_message(os.urandom(size // 2).hex(), subject=subject), [EVE])
        self._posted.add(subject)
        self._within_the_bound(box)

    @rule(
        box=boxes,
        behaviour=st.sampled_from([Accepting, Accepting, Away, CuttingShort, "451 later", "554 no"]),
        answer=st.sampled_from([None, None, "452 mailbox full", "550 nobody"]),
    )
    def mail_round(self, box: int, behaviour: Any, answer: str | None) -> None:
        """One round of a process; the server may answer otherwise about two of the three recipients."""
        self._server.behaviour = behaviour
        self._server.refusing = dict.fromkeys((GRACE, EVE), answer) if answer else {}
        before = len(self._digests_received())
        asyncio.run(self._senders[box].work())
        if not self._outboxes[box].in_memory:
            more = len(self._digests_received()) - before
            self._digests += [self._outboxes[box].now()] * more
        self._within_the_bound(box)

    @rule(box=boxes)
    def more_kinds_than_the_cap_lets_through(self, box: int) -> None:
        for _ in range(CAP + 1):
            self.record_many_kinds(box, 1)
            self.time_goes_by(box, 60.0)
            self.mail_round(box, Accepting, None)

    @rule(box=boxes, seconds=st.sampled_from([0.3, RETRY_SECONDS, 60.0, HOUR]))
    def time_goes_by(self, box: int, seconds: float) -> None:
        before = self._outboxes[box].now()
        self._clock.advance(seconds)
        assert self._outboxes[box].now() == pytest.approx(before + seconds, abs=1e-3)

    @rule(box=boxes, seconds=st.sampled_from([-20 * YEAR, -DAY, -HOUR, HOUR, DAY, 20 * YEAR]))
    def wall_clock_jumps(self, box: int, seconds: float) -> None:
        before = self._outboxes[box].now()
        self._clock.jump(seconds)
        assert self._outboxes[box].now() == pytest.approx(before, abs=1e-3)

    @rule(box=boxes, how=st.sampled_from(["resolve", "mute", "reopen"]), key=keys)
    def settle(self, box: int, how: str, key: str) -> None:
        outbox = self._outboxes[box]
        group = outbox.group(key)
        if group is None:
            return
        if how == "resolve":
            # In memory it resolves what the file has of the group, too, once both are merged.
            unseen = self._recorded_of[key] if outbox.in_memory else 0
            self._settled += group.count - group.reported + unseen
            assert outbox.resolve(key)
        elif how == "mute":
            assert outbox.mute(key, 600)
        else:
            assert outbox.reopen(key)

    @rule(box=boxes)
    def retry(self, box: int) -> None:
        # An operator's retry is not capped.
        self._beyond_the_cap += sum(mail.kind == "digest" for mail in self._outboxes[box].mails("dead", 10_000))
        self._outboxes[box].retry()

    @rule(box=boxes)
    def purge(self, box: int) -> None:
        outbox = self._outboxes[box]
        self._purged |= {mail.subject for mail in outbox.mails("dead", 10_000) if mail.kind == "post"}
        outbox.purge(dead=True, sent=True)

    @rule(box=boxes)
    def housekeeping(self, box: int) -> None:
        self._outboxes[box].housekeeping()
        self._within_the_bound(box)

    @precondition(lambda self: not self._away)
    @rule()
    def disk_leaves(self) -> None:
        self._data.rename(self._elsewhere)
        self._data.touch()
        self._away = True

    @precondition(lambda self: self._away)
    @rule()
    def disk_comes_back(self) -> None:
        self._data.unlink()
        self._elsewhere.rename(self._data)
        self._away = False
        # Each process may have begun a digest meanwhile that now waits beside the one of the file.
        self._beyond_the_cap += len(self._outboxes)

    @precondition(lambda self: not self._away)
    @rule(box=boxes)
    def restart(self, box: int) -> None:
        self._outboxes[box].close()
        self._outboxes[box] = self._open()
        self._senders[box] = self._sender(self._outboxes[box])

    @precondition(lambda self: not self._away)
    @rule(off=st.sampled_from([0.0, 60.0, 2 * DAY]), jump=st.sampled_from([-YEAR, 0.0, YEAR]))
    def reboot(self, off: float, jump: float) -> None:
        for outbox in self._outboxes:
            outbox.close()
        self._outboxes[0].heartbeats.beat("host:0", leader=False, figures={})
        before = self._outboxes[0].now()
        self._outboxes[0].close()
        self._clock.reboot(off)
        self._clock.jump(jump)
        self._open_all()
        for outbox in self._outboxes:
            outbox.open()
            assert before - 1e-3 <= outbox.now() <= before + DAY + 2

    @precondition(lambda self: not self._away)
    @rule()
    def the_mail_server_takes_everything(self) -> None:
        self._server.behaviour, self._server.refusing = Accepting, {}
        for _ in range(40):
            self._clock.advance(HOUR)
            for sender in self._senders:
                asyncio.run(sender.work())
        first, second = self._outboxes
        assert first.mails("waiting", 1) == second.mails("waiting", 1) == []
        assert first.unreported(samples=0) == []
        counts = [re.search(r"(\d+) errors?\)$", mail["Subject"]) for mail in self._digests_received()]
        reported = sum(int(found[1]) for found in counts if found)
        totals = first.totals()
        assert reported + self._settled + totals.crowded_errors + totals.old_errors >= self._recorded

    @precondition(lambda self: not self._away)
    @invariant()
    def no_error_is_uncounted_and_no_mail_is_lost(self) -> None:
        errors, names, lost_errors, lost_mails = 0, set[str](), 0, 0
        with closing(self._open()) as reader:
            for outbox in (*self._outboxes, reader):
                groups = outbox.groups(resolved=None, limit=100_000, samples=0)
                mails, totals = outbox.mails(limit=100_000), outbox.totals()
                if outbox is reader or outbox.in_memory:
                    errors += sum(group.count for group in groups)
                    names |= {mail.subject for mail in mails}
                    lost_errors += totals.crowded_errors + totals.old_errors
                    lost_mails += totals.crowded_mails
        counts = [re.search(r"(\d+) errors?\)$", mail["Subject"]) for mail in self._digests_received()]
        reported = sum(int(found[1]) for found in counts if found)
        assert 0 <= self._recorded - errors - lost_errors <= self._settled + reported
        delivered = {mail["Subject"] for mail in self._server.messages}
        assert len(self._posted - names - delivered - self._purged) <= lost_mails

    @precondition(lambda self: not self._away)
    @invariant()
    def the_cap_holds(self) -> None:
        for outbox in self._outboxes:
            if not outbox.in_memory:
                left = [at for at in self._digests if outbox.now() - at < HOUR - 1]
                assert len(left) <= CAP + self._beyond_the_cap
                assert outbox.sending.digests_within(HOUR) >= len(left)

    def _digests_received(self) -> list[EmailMessage]:
        """The digests that reached the admin whom the server never refuses; others get copies of them."""
        received = zip(self._server.messages, self._server.recipients, strict=True)
        return [mail for mail, recipients in received if ADA in recipients]

    def _within_the_bound(self, box: int) -> None:
        outbox = self._outboxes[box]
        if outbox.in_memory or self._away:
            return
        with closing(sqlite3.connect(self._data / "outbox.sqlite3")) as file:
            [(size,)], [(pages,)], [(free,)] = (
                file.execute(f"PRAGMA {name}").fetchall() for name in ("page_size", "page_count", "freelist_count")
            )
        assert size * (pages - free) <= LEAST_BYTES

    def _open_all(self) -> None:
        self._outboxes = [self._open(), self._open()]
        self._senders = [self._sender(outbox) for outbox in self._outboxes]

    def _sender(self, outbox: Outbox) -> Sender:
        mail = MailOptions("127.0.0.1", "blog@example.org", (ADA, GRACE), port=self._server.port, timeout=5.0)
        return Sender(outbox, mail, MAILING)

    def _open(self) -> Outbox:
        options = OutboxOptions(self._data / "outbox.sqlite3", max_bytes=LEAST_BYTES, max_age=10 * YEAR)
        return Outbox(options, clock=self._clock)


TestHost = Host.TestCase
TestHost.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    # Shrinking an example takes longer than a test may take, so nobody would see the example.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    # A step waits for a disk, which is slow while other tests run.
    suppress_health_check=[HealthCheck.too_slow],
)
