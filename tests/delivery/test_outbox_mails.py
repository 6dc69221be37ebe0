"""Mails: stored before they leave, tried until they are served or given up, and never twice."""

from __future__ import annotations

import email
import email.policy
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.store.digest_contents import NotWaiting, TakenIn
from quartblog.delivery.store.mails import Outcome, StoredMail
from tests.support.clocks import START, FakeClock
from tests.support.failures import a_mail, a_message, an_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B = "00000000000000aa", "00000000000000bb"
ADA, GRACE, LINUS = "ada@example.org", "grace@example.org", "linus@example.org"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(tmp_path: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(tmp_path / "outbox.sqlite3"), clock=clock)
    yield outbox
    outbox.close()


def by_subject(outbox: Outbox) -> dict[str, StoredMail]:
    return {mail.subject: mail for mail in outbox.mails()}


def due(outbox: Outbox) -> StoredMail:
    lease = outbox.lead("host:1")
    assert lease is not None
    found = outbox.claim(lease, grace=0)
    outbox.resign(lease)
    assert found is not None
    return found


def test_a_new_mail_is_due_at_once_and_comes_back_as_it_was(outbox: Outbox) -> None:
    number = outbox.begin_mail(a_mail(to=(ADA, GRACE), data=b"\x00\xff"), {})

    assert due(outbox) == StoredMail(
        id=number,
        message_id="<1@example.org>",
        kind="digest",
        subject="a digest",
        data=b"\x00\xff",
        recipients=(ADA, GRACE),
        tries=0,
        created=START,
        since=START,
        next_try=START,
        last_error="",
        state="waiting",
        finished=None,
    )


def test_the_mail_and_what_it_reports_are_stored_together_or_not_at_all(outbox: Outbox) -> None:
    outbox.record([an_event()])
    [group] = outbox.groups()
    broken = a_mail(data="no bytes but \ud800")  # type: ignore[arg-type]

    with pytest.raises(UnicodeEncodeError):
        outbox.begin_mail(broken, {group.fingerprint: 1})

    assert outbox.mails() == []
    assert [group.reported for group in outbox.unreported()] == [0]
    assert outbox.digests_within(60) == 0


def test_the_mails_to_further_readers_belong_to_the_digest(outbox: Outbox) -> None:
    first = outbox.begin_mail(a_mail("all"), {}, [a_mail("some", to=(GRACE,))])

    assert due(outbox).id == first
    assert {mail.subject: mail.recipients for mail in outbox.mails()} == {"all": (ADA,), "some": (GRACE,)}
    assert outbox.digests_within(60) == 1


def test_a_posted_mail_is_complete_and_on_disk(outbox: Outbox, tmp_path: Path) -> None:
    number = outbox.post(a_message("打开这个链接"), [ADA])
    reader = Outbox(OutboxOptions(tmp_path / "outbox.sqlite3"))

    stored = due(reader)

    read = email.message_from_bytes(stored.data, policy=email.policy.default)
    assert (stored.id, stored.kind, stored.subject, stored.recipients) == (number, "post", "密码", (ADA,))
    assert read["Message-ID"] == stored.message_id
    assert read["Date"] is not None
    assert read["Subject"] == "密码"
    assert read.get_content() == "打开这个链接\r\n".replace("\r\n", "\n")
    assert reader.digests_within(60) == 0
    reader.close()


def test_a_posted_mail_keeps_the_ids_it_has(outbox: Outbox) -> None:
    posted = a_message()
    posted["Message-ID"] = "<mine@example.org>"
    posted["Date"] = "Mon, 20 Nov 2023 10:00:00 +0000"
    outbox.post(posted, [ADA])

    assert due(outbox).message_id == "<mine@example.org>"
    assert due(outbox).data.count(b"Message-ID:") == due(outbox).data.count(b"Date:") == 1


def test_a_posted_mail_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synchronous FULL while it is written, NORMAL for the many events."""
    seen: list[str] = []
    connect = sqlite3.connect

    def traced(*place: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*place, **options)
        connection.set_trace_callback(seen.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    with closing(Outbox(OutboxOptions(tmp_path / "other.sqlite3"))) as outbox:
        outbox.record([an_event()])
        seen.clear()
        outbox.post(a_message(), [ADA])
        posted, seen[:] = list(seen), []
        outbox.record([an_event()])

    begin, commit = posted.index("BEGIN IMMEDIATE"), posted.index("COMMIT")
    assert posted[:begin].count("PRAGMA synchronous = FULL") == 1
    assert "PRAGMA synchronous = NORMAL" in posted[commit:]
    assert not any("synchronous" in statement for statement in seen)


def test_a_mail_that_failed_waits_for_its_time(outbox: Outbox, clock: FakeClock) -> None:
    number = outbox.begin_mail(a_mail(), {})

    outbox.failed(number, "451 come\nback", 30)

    clock.advance(29)
    assert not outbox.has_due_mail()
    assert outbox.totals().next_try == START + 30
    clock.advance(1)
    again = due(outbox)
    assert (again.tries, again.last_error, again.state, again.created) == (1, r"451 come\nback", "waiting", START)


def test_the_mail_whose_time_came_first_is_tried_first(outbox: Outbox, clock: FakeClock) -> None:
    stubborn = outbox.begin_mail(a_mail("stubborn"), {})
    outbox.begin_mail(a_mail("second"), {})
    clock.advance(1)
    outbox.begin_mail(a_mail("third"), {})
    outbox.failed(stubborn, "451", 1)
    clock.advance(1)

    order = []
    while outbox.has_due_mail():
        found = due(outbox)
        order.append(found.subject)
        outbox.sent(found.id, "250")

    assert order == ["second", "third", "stubborn"]
    assert outbox.totals().next_try is None


def test_a_sent_mail_is_not_sent_again(outbox: Outbox, clock: FakeClock) -> None:
    number = outbox.begin_mail(a_mail(), {})

    clock.advance(3)
    outbox.sent(number, "250 kept")

    clock.advance(1e9)
    assert not outbox.has_due_mail()
    [sent] = outbox.mails("sent")
    assert (sent.last_error, sent.finished, sent.tries) == ("250 kept", START + 3, 1)
    assert outbox.retry(number) == outbox.retry() == 0


def test_a_dead_letter_is_kept_and_may_be_tried_again(outbox: Outbox, clock: FakeClock) -> None:
    number = outbox.begin_mail(a_mail(), {})
    outbox.failed(number, "451", 1)
    clock.advance(1_000)
    outbox.dead(number, "554 no")
    clock.advance(1e9)
    assert not outbox.has_due_mail()
    [dead] = outbox.mails("dead")
    assert (dead.last_error, dead.finished, dead.tries) == ("554 no", START + 1_000, 2)
    clock.advance(1_000)

    assert outbox.retry(number) == 1

    again = due(outbox)
    assert (again.tries, again.since, again.next_try, again.finished) == (0, clock.wall(), clock.wall(), None)
    assert (again.message_id, again.created) == (dead.message_id, START)


def test_retrying_all_makes_waiting_mails_due_without_a_new_beginning(outbox: Outbox, clock: FakeClock) -> None:
    waiting, dead, sent = (outbox.begin_mail(a_mail(name), {}) for name in ("waiting", "dead", "sent"))
    outbox.failed(waiting, "451", 9_000)
    outbox.dead(dead, "554")
    outbox.sent(sent, "250")
    clock.advance(60)

    assert outbox.retry() == 2

    assert by_subject(outbox)["waiting"].since == START
    assert by_subject(outbox)["waiting"].tries == 1
    assert by_subject(outbox)["dead"].since == START + 60
    assert by_subject(outbox)["sent"].state == "sent"
    assert outbox.retry(99) == 0


def test_an_answer_about_a_missing_mail_changes_nothing(outbox: Outbox) -> None:
    outbox.begin_mail(a_mail(), {"nobody": 1})

    for number in (99, -99):
        outbox.dead(number, "554")
        assert outbox.retry(number) == 0

    assert [mail.state for mail in outbox.mails()] == ["waiting"]


def test_a_finished_mail_does_not_come_back_by_a_late_answer(outbox: Outbox, clock: FakeClock) -> None:
    number = outbox.begin_mail(a_mail(), {})
    outbox.sent(number, "250")

    outbox.failed(number, "451", 0)
    outbox.partly(number, Outcome([], {}, [ADA]))

    clock.advance(1e9)
    assert not outbox.has_due_mail()


def test_each_recipient_goes_a_way_of_its_own(outbox: Outbox, clock: FakeClock) -> None:
    number = outbox.begin_mail(a_mail(to=(ADA, GRACE, LINUS)), {})

    assert outbox.partly(number, Outcome([ADA], {GRACE: "550 nobody"}, [LINUS]))
    assert outbox.failed(number, "451", 30)
    clock.advance(30)

    [dead] = outbox.mails("dead")
    assert (dead.recipients, dead.last_error) == ((GRACE,), "grace@example.org: 550 nobody")
    waiting = due(outbox)
    assert (waiting.id, waiting.recipients, waiting.tries, waiting.next_try) == (number, (LINUS,), 1, START + 30)
    assert waiting.data == dead.data
    assert waiting.message_id == dead.message_id
    outbox.sent(number, "250")
    assert outbox.retry() == 1
    assert due(outbox).recipients == (GRACE,)


def test_a_reader_who_got_the_mail_is_not_tried_again_when_the_rest_is_refused(outbox: Outbox) -> None:
    number = outbox.begin_mail(a_mail(to=(ADA, GRACE)), {})

    outbox.partly(number, Outcome([ADA], {GRACE: "550 nobody"}, []))

    assert {mail.state: mail.recipients for mail in outbox.mails()} == {"sent": (ADA,), "dead": (GRACE,)}


def test_a_mail_refused_by_all_is_one_dead_letter(outbox: Outbox) -> None:
    number = outbox.begin_mail(a_mail(to=(ADA, GRACE)), {})

    outbox.partly(number, Outcome([], {ADA: "550", GRACE: "551"}, []))

    [dead] = outbox.mails()
    assert (dead.state, dead.recipients) == ("dead", (ADA, GRACE))


def test_without_a_time_the_waiting_keep_theirs_until_it_is_said(outbox: Outbox, clock: FakeClock) -> None:
    number = outbox.begin_mail(a_mail(to=(ADA, GRACE)), {})

    outbox.partly(number, Outcome([ADA], {}, [GRACE]))
    outbox.failed(number, "451", 30)
    clock.advance(30)

    waiting = due(outbox)
    assert (waiting.recipients, waiting.tries) == ((GRACE,), 1)


def test_purging_removes_finished_mail_and_nothing_else(outbox: Outbox, clock: FakeClock) -> None:
    for name in ("waiting", "old", "new", "dead"):
        clock.advance(100 if name == "new" else 0)
        number = outbox.begin_mail(a_mail(name), {})
        if name == "dead":
            outbox.dead(number, "554")
        elif name != "waiting":
            outbox.sent(number, "250")

    assert outbox.purge() == outbox.purge(older_than=101, sent=True) == 0
    assert outbox.purge(older_than=100, sent=True) == 1
    assert set(by_subject(outbox)) == {"waiting", "new", "dead"}
    assert outbox.purge(dead=True, sent=True) == 2
    assert set(by_subject(outbox)) == {"waiting"}
    assert outbox.digests_within(1_000) == 4  # The cap must hold also now.


def test_digests_are_counted_from_the_time_they_were_begun(outbox: Outbox, clock: FakeClock) -> None:
    outbox.begin_mail(a_mail(), {})
    clock.advance(10)
    outbox.begin_mail(a_mail(), {})

    assert [outbox.digests_within(seconds) for seconds in (11, 10, 1, 0)] == [2, 1, 1, 0]
    assert outbox.latest_digests(5) == [0, 10]


def test_the_newest_mails_are_listed_first(outbox: Outbox, clock: FakeClock) -> None:
    for name in "abc":
        outbox.begin_mail(a_mail(name), {})
        clock.advance(1)

    assert [mail.subject for mail in outbox.mails()] == ["c", "b", "a"]
    assert [mail.subject for mail in outbox.mails(limit=1)] == ["c"]
    assert outbox.mails("dead") == []


def test_a_digest_that_does_not_wait_takes_nothing_in(outbox: Outbox) -> None:
    outbox.record([an_event(A), an_event(A)])
    number = outbox.begin_mail(replace(a_mail(), counts={A: 1}), {A: 1})
    outbox.dead(number, "550")

    with pytest.raises(NotWaiting):
        outbox.take_in({number: TakenIn({A: 1})}, {A: 1})

    assert [(group.count, group.reported) for group in outbox.unreported()] == [(2, 0)]


def test_a_digest_that_takes_in_reports_both(outbox: Outbox) -> None:
    outbox.record([an_event(A), an_event(A), an_event(B)])
    number = outbox.begin_mail(replace(a_mail(), counts={A: 1}, notes=("first",)), {A: 1})
    outbox.take_in({number: TakenIn({A: 1, B: 1}, ["second"])}, {A: 1, B: 1})

    report = outbox.report(number)
    assert report is not None
    assert (report.counts, report.notes, report.stale) == ({A: 2, B: 1}, ("first", "second"), True)
    assert outbox.unreported() == []
    assert len(outbox.latest_digests(10)) == 1

    outbox.rewrite(number, a_mail("anew", data=b"anew"), most=100)
    [waiting] = outbox.mails("waiting")
    assert (waiting.subject, waiting.data) == ("anew", b"anew")
    report = outbox.report(number)
    assert report is not None
    assert (report.stale, report.most) == (False, 100)


def test_a_named_dead_letter_is_named_once(outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    dead = outbox.begin_mail(replace(a_mail(), counts={A: 1}), {A: 1})
    outbox.dead(dead, "550 no")
    assert [(one.id, one.reason, one.counts) for one in outbox.undelivered()] == [(dead, "550 no", {A: 1})]

    outbox.begin_mail(replace(a_mail(), counts={A: 1}), {A: 1}, announced=[dead])

    assert outbox.undelivered() == []
    assert outbox.unreported() == []
