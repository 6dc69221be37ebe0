"""The weekly mail: once a week and host, whatever happens to workers, machine and clock; and what it says."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Frequent, MailOptions, Outbox, OutboxOptions, WeeklyTime
from quartblog.delivery.mail.sender import Sender
from quartblog.delivery.mail.summary import summary_mail
from quartblog.delivery.options import MailingOptions
from quartblog.delivery.store.database import APPLICATION_ID
from quartblog.delivery.store.mails import NewMail, Result
from quartblog.delivery.store.schema import MIGRATIONS
from quartblog.delivery.store.workers import LeaseLost
from tests.support.clocks import FakeClock
from tests.support.failures import a_digest, a_group, a_message, an_event, report_all
from tests.support.smtp import MailServer, dead_server

from .conftest import ADMINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from quartblog.delivery.store.workers import Lease

MINUTE, HOUR, DAY, WEEK = 60, 3_600, 86_400, 7 * 86_400
MONDAY = int(dt.datetime(2025, 6, 2, 8, tzinfo=dt.UTC).timestamp())
PLAN = WeeklyTime.parse("monday 08:00")
ONE, TWO, THREE = "00000000000000aa", "00000000000000bb", "00000000000000cc"
A_SUMMARY = NewMail("<1@example.org>", "Weekly summary", b"Subject: x\r\n\r\nbody\r\n", ADMINS, "summary")


class Host:
    """One machine with an outbox. Its clock stands on a Thursday, before any worker has run."""

    def __init__(self, folder: Path, server: MailServer, mail_to: Callable[..., MailOptions]) -> None:
        self.clock = FakeClock(MONDAY - 4 * DAY)
        self.path = folder / "outbox.sqlite3"
        self.outbox = Outbox(OutboxOptions(self.path), clock=self.clock)
        self.server = server
        self.mail = mail_to(server, title="博客异常")

    def worker(self, plan: WeeklyTime | None = PLAN, **options: Any) -> Sender:
        """A worker of this host."""
        return Sender(
            self.outbox, self.mail, MailingOptions(summary=plan, batch_seconds=0.0, **options), chance=lambda: 1.0
        )

    def fail(self, times: int = 1, fingerprint: str = ONE, **changes: Any) -> None:
        """Let it fail so many times, now."""
        self.outbox.record([an_event(fingerprint, created=self.clock.wall(), **changes)] * times)

    def goto(self, moment: float) -> None:
        """Let time pass until the wall clock shows this epoch second."""
        self.clock.advance(moment - self.clock.wall())

    def lead(self) -> Lease:
        """The lead of this host, which no other worker asks for."""
        lease = self.outbox.sending.lead("host:1")
        assert lease is not None
        return lease

    def summed_up(self, lease: Lease, plan: WeeklyTime = PLAN) -> int | None:
        """Store a summary if one is due, without sending it. Return the end of its week."""
        week = self.outbox.sending.week_due(plan, lease)
        if week is None:
            return None
        assert self.outbox.sending.post_summary(A_SUMMARY, plan, lease) is not None
        return week.end

    @property
    def summaries(self) -> list[EmailMessage]:
        """The weekly mails that the server has got."""
        return [mail for mail in self.server.messages if str(mail["Subject"]).startswith("Weekly summary")]


@pytest.fixture
def host(tmp_path: Path, accepting_server: MailServer, mail_to: Callable[..., MailOptions]) -> Iterator[Host]:
    one = Host(tmp_path, accepting_server, mail_to)
    yield one
    one.outbox.close()


def week_of(mail: EmailMessage) -> str:
    """The first day of the week that the mail is about."""
    found = re.search(r": \w{3} ([\d-]+) [\d:]+ to ", mail.get_content())
    assert found is not None, mail.get_content()
    return found[1]


def text_of(host: Host) -> str:
    """The weekly mail of now."""
    return str(summary_mail(host.outbox.week(), host.outbox.workers(), host.mail, "web-1").get_content())


# When


async def test_it_leaves_at_its_time_and_not_before(host: Host) -> None:
    worker = host.worker()
    await worker.work()
    host.goto(MONDAY - 1)
    await worker.work()
    assert host.summaries == []

    host.goto(MONDAY)
    await worker.work()
    for _ in range(3):
        host.clock.advance(2 * DAY)
        await worker.work()

    [mail] = host.summaries
    assert week_of(mail) == "2025-05-26"
    host.goto(MONDAY + WEEK)
    await worker.work()
    assert [week_of(mail) for mail in host.summaries] == ["2025-05-26", "2025-06-02"]


async def test_two_workers_send_it_once(host: Host) -> None:
    with closing(Outbox(OutboxOptions(host.path), clock=host.clock)) as neighbour:
        first = host.worker()
        second = Sender(neighbour, host.mail, MailingOptions(summary=PLAN))
        await first.work()
        host.goto(MONDAY + MINUTE)
        first.resign()
        for _ in range(3):
            await second.work()
            second.resign()
            await first.work()
            first.resign()

    assert len(host.summaries) == 1


def test_a_leader_that_has_lost_the_lead_stores_none(host: Host) -> None:
    lease = host.lead()
    host.summed_up(lease)
    host.goto(MONDAY)
    assert host.outbox.sending.week_due(PLAN, lease) is not None
    assert host.outbox.sending.lead("host:2") is not None

    with pytest.raises(LeaseLost):
        host.outbox.sending.post_summary(A_SUMMARY, PLAN, lease)

    assert host.outbox.mails() == []


def test_a_leader_that_looked_before_another_one_stored_it_stores_no_second_one(host: Host) -> None:
    lease = host.lead()
    host.summed_up(lease)
    host.goto(MONDAY)

    assert host.outbox.sending.week_due(PLAN, lease) is not None
    assert host.summed_up(lease) is not None
    assert host.outbox.sending.post_summary(A_SUMMARY, PLAN, lease) is None

    assert len(host.outbox.mails()) == 1


async def test_a_restart_after_it_left_sends_no_second_one(host: Host) -> None:
    await host.worker().work()
    host.goto(MONDAY)
    before = host.worker()
    await before.work()
    before.resign()

    host.outbox.close()
    host.clock.advance(HOUR)
    await host.worker().work()

    assert len(host.summaries) == 1


async def test_a_reboot_after_it_left_sends_no_second_one(host: Host) -> None:
    await host.worker().work()
    host.goto(MONDAY)
    before = host.worker()
    await before.work()
    before.resign()
    host.outbox.close()

    host.clock.reboot(3 * DAY)
    await host.worker().work()
    assert len(host.summaries) == 1

    host.goto(MONDAY + WEEK)
    await host.worker().work()
    assert len(host.summaries) == 2


@pytest.mark.parametrize("off", [HOUR, 3 * DAY, 6 * DAY])
@pytest.mark.parametrize("reboot", [False, True])
async def test_a_site_that_was_down_sends_it_as_soon_as_it_runs(host: Host, off: int, *, reboot: bool) -> None:
    before = host.worker()
    await before.work()
    host.goto(MONDAY - MINUTE)
    before.resign()
    host.outbox.close()
    if reboot:
        host.clock.reboot(MINUTE + off)
    else:
        host.clock.advance(MINUTE + off)

    after = host.worker()
    await after.work()
    host.clock.advance(MINUTE)
    await after.work()

    assert [week_of(mail) for mail in host.summaries] == ["2025-05-26"]
    host.goto(MONDAY + WEEK)
    await after.work()
    assert [week_of(mail) for mail in host.summaries] == ["2025-05-26", "2025-06-02"]


@pytest.mark.parametrize("reboot", [False, True])
async def test_several_weeks_without_the_site_are_one_mail_about_the_last_one(host: Host, *, reboot: bool) -> None:
    await host.worker().work()
    host.outbox.close()
    if reboot:
        host.clock.reboot(24 * DAY)
    else:
        host.clock.advance(24 * DAY)

    after = host.worker()
    for _ in range(3):
        await after.work()
        host.clock.advance(MINUTE)

    assert [week_of(mail) for mail in host.summaries] == ["2025-06-09"]


async def test_a_first_start_waits_for_the_next_time_and_says_since_when_it_counts(host: Host) -> None:
    host.goto(MONDAY + HOUR)
    worker = host.worker()
    for _ in range(6):
        await worker.work()
        host.clock.advance(DAY)
    assert host.summaries == []

    host.goto(MONDAY + WEEK)
    await worker.work()

    [mail] = host.summaries
    assert "The outbox counts since Mon 2025-06-02 09:00, so this week is not complete." in mail.get_content()
    host.goto(MONDAY + 2 * WEEK)
    await worker.work()
    assert "so the week before is not complete" in host.summaries[1].get_content()
    host.goto(MONDAY + 3 * WEEK)
    await worker.work()
    assert "complete" not in host.summaries[2].get_content()


def test_a_file_of_an_earlier_version_has_counted_since_its_first_hour(host: Host) -> None:
    hour = MONDAY // HOUR - 20 * 24
    with closing(sqlite3.connect(host.path)) as file, file:
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in itertools.chain(*MIGRATIONS[:8]):
            file.execute(statement, {"now": MONDAY} if ":now" in statement else {})
        file.execute("PRAGMA user_version = 8")
        file.execute(
            """INSERT INTO groups (id, fingerprint, title, level, logger, place, function, count, first_seen, last_seen)
            VALUES (1, ?, 'ValueError', 40, 'blog', 'app.py:1', 'edit', 1, ?, ?)""",
            (ONE, hour * HOUR, hour * HOUR),
        )
        file.execute("INSERT INTO hours (group_id, hour, count) VALUES (1, ?, 1)", (hour,))

    assert host.outbox.week().since == pytest.approx(hour * HOUR, abs=1)
    assert host.outbox.healthy


JUMPS = [-20 * 52 * WEEK, -WEEK, -5 * DAY, -3 * DAY, -2 * HOUR, -MINUTE, MINUTE, 2 * HOUR, 3 * DAY, 5 * DAY]


@pytest.mark.parametrize("jump", [*JUMPS, WEEK - MINUTE, WEEK, WEEK + MINUTE, 20 * 52 * WEEK])
def test_a_clock_that_is_set_makes_no_second_one_and_stops_it_for_a_week_at_most(host: Host, jump: int) -> None:
    lease = host.lead()
    assert host.summed_up(lease) is None
    host.goto(MONDAY)
    weeks = [host.summed_up(lease)]
    host.clock.advance(DAY)
    host.clock.jump(jump)

    days = [0.0]
    for quarter in range(24 * 4, 5 * 7 * 24 * 4):
        host.clock.advance(15 * MINUTE)
        if (week := host.summed_up(lease)) is not None:
            weeks.append(week)
            days.append((quarter + 1) / (24 * 4))
            last = host.clock.wall()

    gaps = [after - before for before, after in itertools.pairwise(days)]
    assert len(set(weeks)) == len(weeks)
    assert 7 <= gaps[0] <= 14
    assert min(gaps) >= 3.5
    assert max(gaps) <= 14
    assert dt.datetime.fromtimestamp(last, dt.UTC).strftime("%a %H") == "Mon 08", "the wall clock names the time again"


async def test_a_clock_that_goes_forth_and_back_sends_it_as_if_nothing_had_been(host: Host) -> None:
    worker = host.worker()
    await worker.work()
    host.goto(MONDAY)
    await worker.work()
    for jump in (30 * DAY, -60 * DAY, 30 * DAY):
        host.clock.advance(HOUR)
        host.clock.jump(jump)
        await worker.work()
    assert len(host.summaries) == 1

    host.goto(MONDAY + WEEK)
    await worker.work()
    assert [week_of(mail) for mail in host.summaries] == ["2025-05-26", "2025-06-02"]


@pytest.mark.parametrize("seed", range(10))
def test_however_often_the_clock_is_set_there_are_two_a_week_and_one_in_two_weeks(host: Host, seed: int) -> None:
    chance = random.Random(seed)
    lease = host.lead()
    assert host.summed_up(lease) is None
    sent, lived = [0.0], 0.0
    while lived < 40 * WEEK:
        step = chance.uniform(HOUR, 2 * HOUR)
        host.clock.advance(step)
        lived += step
        if chance.random() < 1 / 60:
            host.clock.jump(chance.choice([-1, 1]) * chance.choice([HOUR, DAY, 4 * DAY, WEEK, 3 * WEEK, 400 * DAY]))
        if host.summed_up(lease) is not None:
            assert host.summed_up(lease) is None
            sent.append(lived)

    gaps = [after - before for before, after in itertools.pairwise(sent)][1:]
    # One that the clock has delayed may be followed by the next one at its time.
    assert min(map(sum, itertools.pairwise(gaps))) >= WEEK - 2 * HOUR
    assert max(gaps) <= 2 * WEEK + 2 * HOUR


def test_a_clock_that_is_set_back_every_day_stops_it_for_a_week_at_most(host: Host) -> None:
    lease = host.lead()
    host.summed_up(lease)
    host.goto(MONDAY + DAY)
    assert host.summed_up(lease) == MONDAY

    days = []
    for day in range(1, 30):
        host.clock.advance(DAY)
        host.clock.jump(-DAY)
        if host.summed_up(lease) is not None:
            days.append(day)

    assert days == [14, 28]


async def test_a_clock_that_is_wrong_at_each_start_of_the_machine_does_not_stop_it(host: Host) -> None:
    await host.worker().work()
    for _ in range(30):
        right = host.clock.wall()
        host.outbox.close()
        host.clock.reboot()
        host.clock.jump(-right)
        worker = host.worker()
        await worker.work()
        host.clock.jump(right)
        await worker.work()
        host.clock.advance(DAY)
        await worker.work()
        worker.resign()

    assert [week_of(mail) for mail in host.summaries] == ["2025-05-26", "2025-06-02", "2025-06-09", "2025-06-16"]


async def test_a_clock_that_is_set_after_a_restart_of_the_machine_makes_no_second_one(host: Host) -> None:
    await host.worker().work()
    host.goto(MONDAY)
    before = host.worker()
    await before.work()
    before.resign()
    host.outbox.close()
    host.clock.reboot(MINUTE)
    worker = host.worker()
    await worker.work()

    host.clock.jump(WEEK)
    host.clock.advance(MINUTE)
    await worker.work()

    assert len(host.summaries) == 1


async def test_another_time_waits_for_that_time(host: Host) -> None:
    worker = host.worker()
    await worker.work()
    host.goto(MONDAY)
    await worker.work()

    worker.reconfigure(host.mail, MailingOptions(summary=WeeklyTime.parse("wednesday 20:30")))
    await worker.work()
    host.goto(MONDAY + 2 * DAY + 12.5 * HOUR - 1)
    await worker.work()
    assert len(host.summaries) == 1
    host.goto(MONDAY + 2 * DAY + 12.5 * HOUR)
    await worker.work()
    assert [week_of(mail) for mail in host.summaries] == ["2025-05-26", "2025-05-28"]
    host.goto(MONDAY + WEEK)
    await worker.work()
    assert len(host.summaries) == 2


async def test_turned_off_none_leaves_and_turned_on_again_the_next_one_leaves_at_its_time(host: Host) -> None:
    worker = host.worker()
    await worker.work()
    worker.reconfigure(host.mail, MailingOptions())
    host.goto(MONDAY + DAY)
    await worker.work()

    worker.reconfigure(host.mail, MailingOptions(summary=PLAN))
    await worker.work()
    assert host.summaries == []
    host.goto(MONDAY + WEEK)
    await worker.work()
    assert [week_of(mail) for mail in host.summaries] == ["2025-06-02"]


async def test_none_leaves_while_the_outbox_is_in_memory_and_one_follows(host: Host) -> None:
    worker = host.worker()
    await worker.work()
    host.outbox.close()
    away = host.path.with_name("away")
    host.path.rename(away)
    host.path.mkdir()
    for moment in (MONDAY - HOUR, MONDAY):
        host.goto(moment)
        await worker.work()
    assert host.outbox.in_memory
    assert host.summaries == []

    host.path.rmdir()
    away.rename(host.path)
    host.clock.advance(MINUTE)
    await worker.work()
    await worker.work()

    assert len(host.summaries) == 1


async def test_a_mail_server_that_is_away_gets_it_later_and_once(host: Host) -> None:
    worker = host.worker()
    await worker.work()
    host.goto(MONDAY)
    with dead_server() as port:
        worker.reconfigure(replace(host.mail, port=port), MailingOptions(summary=PLAN))
        await worker.work()
    [waiting] = host.outbox.mails("waiting")
    assert (waiting.kind, waiting.tries) == ("summary", 1)

    worker.reconfigure(host.mail, MailingOptions(summary=PLAN))
    host.clock.advance(HOUR)
    await worker.work()

    assert [mail["Message-ID"] for mail in host.summaries] == [waiting.message_id]
    assert host.server.recipients == [list(waiting.recipients)]


async def test_an_admin_whom_the_server_puts_off_gets_it_later_in_a_mail_of_its_own(host: Host) -> None:
    grace = ADMINS[1]
    host.server.refusing = {grace: "451 later"}
    worker = host.worker(retry_max=WEEK)
    await worker.work()
    host.goto(MONDAY - MINUTE)
    host.fail()
    await worker.work()
    host.goto(MONDAY)
    await worker.work()
    host.server.refusing = {}
    assert [(mail.kind, mail.recipients) for mail in host.outbox.mails("waiting")] == [
        ("summary", (grace,)),
        ("copy", (grace,)),
    ]

    host.clock.advance(DAY)
    await worker.work()

    first, later = [mail for mail in host.server.mails if mail.subject.startswith("Weekly summary")]
    assert later.recipients == (grace,)
    assert later.text == first.text
    assert host.outbox.week().sent == 2


async def test_a_refused_one_is_a_dead_letter_that_may_be_retried(
    host: Host, server_that_says_never: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    worker = host.worker()
    await worker.work()
    host.goto(MONDAY)
    worker.reconfigure(replace(host.mail, port=server_that_says_never.port), MailingOptions(summary=PLAN))
    await worker.work()

    [dead] = host.outbox.mails("dead")
    assert "554 we do not want this" in dead.last_error
    assert f"The mail {dead.subject!r} was not sent and is given up" in caplog.text
    assert host.outbox.retry(dead.id) == 1
    worker.reconfigure(host.mail, MailingOptions(summary=PLAN))
    await worker.work()
    assert len(host.summaries) == 1


async def test_the_cap_of_digests_neither_holds_it_back_nor_counts_it(host: Host) -> None:
    worker = Sender(host.outbox, host.mail, MailingOptions(mails_per_hour=1, batch_seconds=0.0, summary=PLAN))
    await worker.work()
    host.goto(MONDAY - MINUTE)
    host.fail()
    await worker.work()
    host.goto(MONDAY)
    host.fail(fingerprint=TWO)
    await worker.work()
    assert [len(host.server.messages), len(host.summaries)] == [2, 1]

    host.goto(MONDAY + HOUR)
    await worker.work()
    assert [len(host.server.messages), len(host.summaries)] == [3, 1]


def test_a_full_outbox_keeps_the_text_of_a_waiting_one(host: Host) -> None:
    host.outbox.reconfigure(OutboxOptions(host.path, max_bytes=1024 * 1024))
    lease = host.lead()
    host.summed_up(lease)
    host.goto(MONDAY)
    assert host.summed_up(lease) is not None

    for number in range(40):
        host.fail(fingerprint=f"{number:016x}", traceback=f"{number} " + "t" * 60_000)

    [waiting] = host.outbox.mails("waiting")
    assert waiting.data == A_SUMMARY.data


# What


async def test_a_quiet_week_is_a_mail_that_says_so(host: Host) -> None:
    worker = host.worker()
    await worker.work()
    host.outbox.heartbeats.beat("web-1:12", leader=True, figures={})
    host.goto(MONDAY)
    host.outbox.heartbeats.beat("web-1:12", leader=True, figures={})
    await worker.work()

    [mail] = host.summaries
    assert re.fullmatch(r"Weekly summary: no errors \(博客异常 微博 on .+\)", mail["Subject"])
    assert mail["List-Id"].startswith("微博 <errors.")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert len(mail["References"].split()) == 1
    text = mail.get_content()
    assert "Mon 2025-05-26 08:00 to Mon 2025-06-02 08:00, in UTC" in text
    assert "No errors this week; 0 errors in the week before." in text
    assert "Workers  1 running: web-1:12 (mails for this host)" in text
    assert "0 groups open, 0 muted; 0 mails waiting, 0 dead" in text
    assert "Most frequent" not in text


async def test_a_busy_week_is_counted_against_the_week_before(host: Host) -> None:
    host.goto(MONDAY - 3 * DAY)
    host.fail(3)
    host.fail(1, THREE, title="OldError", traceback="")
    host.goto(MONDAY + 5 * DAY)
    host.fail(5)
    host.fail(7, TWO, title="KeyError", traceback="Traceback\nKeyError: 'posts'")
    report_all(host.outbox)
    host.outbox.sending.dead(a_digest(host.outbox), Result("550 no"))
    host.outbox.post(a_message(), ["ada@example.org"])
    assert host.outbox.resolve(THREE)
    assert host.outbox.mute(TWO, DAY)

    host.mail = replace(host.mail, page="https://blog.example.org/operations/errors/", command="quartblog")
    text = text_of(host)

    assert summary_mail(host.outbox.week(), [], host.mail, "web-1")["Subject"] == (
        "Weekly summary: 12 errors, 1 new kind (博客异常 微博 on web-1)"
    )
    assert "12 errors of 2 kinds this week; 4 in the week before." in text
    assert "1 new (2 in the week before), 1 resolved" in text
    assert "Mails    1 sent, 1 given up" in text
    assert "1 group open, 1 muted; 1 mail waiting, 1 dead" in text
    assert (
        "7 errors (0 in the week before): KeyError: 'posts'\n  ERROR of blog.profile at app.py:12, now muted\n" in text
    )
    assert "5 errors (3 in the week before): ValueError: twelve\n" in text
    assert text.index("KeyError") < text.index("ValueError: twelve")
    assert "https://blog.example.org/operations/errors/1\n" in text
    assert "OldError" not in text


def test_without_a_public_address_it_names_the_command(host: Host) -> None:
    host.fail()
    host.mail = replace(host.mail, command="quartblog")

    assert "\n  quartblog errors show 1\n" in text_of(host)


def test_errors_after_its_time_belong_to_the_next_week(host: Host) -> None:
    lease = host.lead()
    host.summed_up(lease)
    host.goto(MONDAY - 1)
    host.fail(2)
    host.goto(MONDAY)
    host.fail(3)
    first = host.outbox.sending.week_due(PLAN, lease)
    assert host.summed_up(lease) is not None
    host.goto(MONDAY + WEEK)
    second = host.outbox.sending.week_due(PLAN, lease)

    assert first is not None
    assert second is not None
    assert (first.begin, first.end, second.end) == (MONDAY - WEEK, MONDAY, MONDAY + WEEK)
    assert (first.errors, second.errors, second.errors_before) == (2, 3, 2)


def test_more_than_ten_groups_are_counted(host: Host) -> None:
    for number in range(13):
        host.fail(number + 1, f"{number:016x}", title=f"Error{number}", traceback="")

    text = text_of(host)

    assert "and 3 more kinds" in text
    assert text.count(" in the week before): ") == 10


HOSTILE = "<script>\r\nBcc: eve@example.org\u202e\x1b[31m\ud800{{ 7 * 7 }}" + "x" * 100_000


def test_texts_of_strangers_stay_text_on_their_own_line(host: Host) -> None:
    host.fail(
        title=HOSTILE, message=HOSTILE, logger=HOSTILE, place=HOSTILE, traceback=f"Traceback\n{HOSTILE}: {HOSTILE}"
    )
    host.outbox.heartbeats.beat(HOSTILE.replace("\ud800", ""), leader=True, figures={})

    message = summary_mail(host.outbox.week(), host.outbox.workers(), host.mail, "web-1")
    text = message.get_content()

    week = host.outbox.week()
    raw = Frequent(a_group(title=HOSTILE, place=HOSTILE, logger=HOSTILE, samples=()), "open", 3, 0)
    text += summary_mail(replace(week, frequent=(raw,)), [], host.mail, "web-1").get_content()

    assert message["Bcc"] is None
    assert message.get_content_type() == "text/plain"
    assert not [line for line in text.splitlines() if line.startswith("Bcc")]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e\ud800]", text)


# The setting


@pytest.mark.parametrize(
    ("written", "meant"),
    [("monday 08:00", "monday 08:00"), ("Sunday 23:59", "sunday 23:59"), (" friday  9:05 ", "friday 09:05")],
)
def test_a_time_of_the_week_is_read(written: str, meant: str) -> None:
    assert str(WeeklyTime.parse(written)) == meant


@pytest.mark.parametrize("written", ["mondy 8", "monday", "08:00", "monday 24:00", "monday 08:60", "monday ٠٨:00"])
def test_another_text_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match='such as "monday 08:00"'):
        WeeklyTime.parse(written)


@pytest.mark.parametrize("day", range(7))
def test_the_latest_time_is_the_weekday_of_the_calendar(day: int) -> None:
    plan = WeeklyTime(day, 605)
    for hours in range(0, 24 * 15, 5):
        at = MONDAY + hours * HOUR + 0.5
        found = dt.datetime.fromtimestamp(plan.latest(at), dt.UTC)
        assert (found.weekday(), found.hour, found.minute, found.second) == (day, 10, 5, 0)
        assert 0 <= at - plan.latest(at) < WEEK
