"""Mails: stored before they leave, tried until they are served or given up, and never twice."""

from __future__ import annotations

import email
import email.policy
import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.store.mails import Result, StoredMail
from tests.support.clocks import START, FakeClock
from tests.support.failures import a_digest, a_message, an_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B, C, D = "00000000000000aa", "00000000000000bb", "00000000000000cc", "00000000000000dd"
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
    lease = outbox.sending.lead("host:1")
    assert lease is not None
    found = outbox.sending.claim(lease, grace=0)
    outbox.sending.resign(lease)
    assert found is not None
    return found


def test_a_new_mail_is_due_at_once_and_comes_back_as_it_was(outbox: Outbox) -> None:
    number = a_digest(outbox, to=(ADA, GRACE), data=b"\x00\xff")

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


def test_the_worst_groups_of_a_content_come_first_and_the_rest_counts(outbox: Outbox) -> None:
    outbox.record([an_event(A), *[an_event(B)] * 3, an_event(C, level=logging.CRITICAL), an_event(D)])
    outbox.resolve(D)

    content = outbox.sending.content(a_digest(outbox))

    assert content is not None
    assert [(share.fingerprint, share.new) for share in content.shares] == [(C, 1), (B, 3), (A, 1)]
    assert [(group.fingerprint, group.count - group.reported) for group in content.groups] == [(C, 1), (B, 3), (A, 1)]
    assert not content.stale
    assert [(share.fingerprint, share.new) for share in content.added] == [(C, 1), (B, 3), (A, 1)]


def test_errors_count_as_reported_once_the_server_has_accepted_their_digest(outbox: Outbox) -> None:
    outbox.record([an_event(A), an_event(A)])
    number = a_digest(outbox)
    outbox.record([an_event(A)])
    assert [group.reported for group in outbox.unreported()] == [0]
    assert outbox.sending.digests_within(60) == 0

    assert outbox.sending.sent(number, Result("250"))
    assert outbox.sending.sent(number, Result("250 again"))

    assert [(group.count, group.reported) for group in outbox.unreported()] == [(3, 2)]
    assert outbox.sending.digests_within(60) == 1


def test_a_digest_that_was_sent_with_an_earlier_text_goes_on_waiting(outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    number = a_digest(outbox)
    outbox.record([an_event(B)])

    assert outbox.sending.sent(number, Result("250", message_id="<0@example.org>"))

    assert [mail.state for mail in outbox.mails()] == ["waiting"]
    assert len(outbox.unreported()) == 2


def test_no_second_digest_begins_while_one_waits(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    assert outbox.sending.digest_is_due(900, 5)
    number = a_digest(outbox)
    outbox.record([an_event(B)])
    assert not outbox.sending.digest_is_due(900, 5)

    outbox.sending.sent(number, Result("250"))
    outbox.record([an_event(C)])

    assert not outbox.sending.digest_is_due(900, 5)
    clock.advance(5)
    assert outbox.sending.digest_is_due(900, 5)


def test_a_copy_takes_in_what_later_digests_report_until_it_is_sent(outbox: Outbox) -> None:
    lease = outbox.sending.lead("host:1")
    assert lease is not None
    for events in ([an_event(A), an_event(A)], [an_event(A), an_event(B)]):
        outbox.record(events)
        number = a_digest(outbox, lease=lease)
        for _ in range(2):
            content = outbox.sending.content(number)
            assert content is not None
            outbox.sending.hand_over(content, {GRACE: content.added}, lease, counts=False)
        assert outbox.sending.sent(number, Result("250"))

    [copy] = outbox.mails("waiting")
    content = outbox.sending.content(copy.id)
    assert content is not None
    assert (copy.kind, copy.recipients) == ("copy", (GRACE,))
    assert {share.fingerprint: share.new for share in content.shares} == {A: 3, B: 1}
    assert content.stale


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
    assert reader.sending.digests_within(60) == 0
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
    number = a_digest(outbox)

    outbox.sending.failed(number, Result("451 come\nback", wait=30))

    clock.advance(29)
    assert not outbox.sending.has_due_mail()
    assert outbox.totals().next_try == START + 30
    clock.advance(1)
    again = due(outbox)
    assert (again.tries, again.last_error, again.state, again.created) == (1, r"451 come\nback", "waiting", START)


def test_the_mail_whose_time_came_first_is_tried_first(outbox: Outbox, clock: FakeClock) -> None:
    stubborn = a_digest(outbox, "stubborn")
    a_digest(outbox, "second")
    clock.advance(1)
    a_digest(outbox, "third")
    outbox.sending.failed(stubborn, Result("451", wait=1))
    clock.advance(1)

    order = []
    while outbox.sending.has_due_mail():
        found = due(outbox)
        order.append(found.subject)
        outbox.sending.sent(found.id, Result("250"))

    assert order == ["second", "third", "stubborn"]
    assert outbox.totals().next_try is None


def test_a_sent_mail_is_not_sent_again(outbox: Outbox, clock: FakeClock) -> None:
    number = a_digest(outbox)

    clock.advance(3)
    outbox.sending.sent(number, Result("250 kept"))

    clock.advance(1e9)
    assert not outbox.sending.has_due_mail()
    [sent] = outbox.mails("sent")
    assert (sent.last_error, sent.finished, sent.tries) == ("250 kept", START + 3, 1)
    assert outbox.retry(number) == outbox.retry() == 0


def test_a_dead_letter_is_kept_and_may_be_tried_again(outbox: Outbox, clock: FakeClock) -> None:
    number = a_digest(outbox)
    outbox.sending.failed(number, Result("451", wait=1))
    clock.advance(1_000)
    outbox.sending.dead(number, Result("554 no"))
    clock.advance(1e9)
    assert not outbox.sending.has_due_mail()
    [dead] = outbox.mails("dead")
    assert (dead.last_error, dead.finished, dead.tries) == ("554 no", START + 1_000, 2)
    clock.advance(1_000)

    assert outbox.retry(number) == 1

    again = due(outbox)
    assert (again.tries, again.since, again.next_try, again.finished) == (0, clock.wall(), clock.wall(), None)
    assert (again.message_id, again.created) == (dead.message_id, START)


def test_retrying_all_makes_waiting_mails_due_without_a_new_beginning(outbox: Outbox, clock: FakeClock) -> None:
    waiting, dead, sent = (a_digest(outbox, name) for name in ("waiting", "dead", "sent"))
    outbox.sending.failed(waiting, Result("451", wait=9_000))
    outbox.sending.dead(dead, Result("554"))
    outbox.sending.sent(sent, Result("250"))
    clock.advance(60)

    assert outbox.retry() == 2

    assert by_subject(outbox)["waiting"].since == START
    assert by_subject(outbox)["waiting"].tries == 1
    assert by_subject(outbox)["dead"].since == START + 60
    assert by_subject(outbox)["sent"].state == "sent"
    assert outbox.retry(99) == 0


def test_an_answer_about_a_missing_mail_changes_nothing(outbox: Outbox) -> None:
    a_digest(outbox)

    for number in (99, -99):
        outbox.sending.dead(number, Result("554"))
        assert outbox.retry(number) == 0

    assert [mail.state for mail in outbox.mails()] == ["waiting"]


def test_a_finished_mail_does_not_come_back_by_a_late_answer(outbox: Outbox, clock: FakeClock) -> None:
    number = a_digest(outbox)
    outbox.sending.sent(number, Result("250"))

    outbox.sending.failed(number, Result("451"))

    clock.advance(1e9)
    assert not outbox.sending.has_due_mail()


def test_each_recipient_goes_a_way_of_its_own(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    number = a_digest(outbox, to=(ADA, GRACE, LINUS))

    assert outbox.sending.sent(number, Result("250", {GRACE: "550 nobody"}, {LINUS: "451"}, wait=30))
    clock.advance(30)

    assert {mail.state: mail.recipients for mail in outbox.mails()} == {
        "sent": (ADA,),
        "dead": (GRACE,),
        "waiting": (LINUS,),
    }
    [dead], [sent] = outbox.mails("dead"), outbox.mails("sent")
    assert dead.last_error == "grace@example.org: 550 nobody"
    waiting = due(outbox)
    assert (waiting.kind, waiting.tries, waiting.last_error) == ("copy", 1, "linus@example.org: 451")
    assert waiting.next_try == START + 30
    assert waiting.data == dead.data == sent.data
    assert waiting.message_id == dead.message_id == sent.message_id
    content = outbox.sending.content(waiting.id)
    assert content is not None
    assert ([share.fingerprint for share in content.shares], content.stale) == ([A], False)
    outbox.sending.sent(waiting.id, Result("250"))
    assert outbox.retry() == 1
    assert due(outbox).recipients == (GRACE,)


def test_where_nobody_is_served_those_who_are_not_refused_for_good_wait(outbox: Outbox) -> None:
    number = outbox.post(a_message(), [ADA, GRACE])

    assert outbox.sending.failed(number, Result("451", {GRACE: "550 nobody"}, {ADA: "451"}, wait=30))

    assert {mail.state: mail.recipients for mail in outbox.mails()} == {"waiting": (ADA,), "dead": (GRACE,)}


def test_a_digest_that_nobody_got_is_tried_for_all_again(outbox: Outbox) -> None:
    number = a_digest(outbox, to=(ADA, GRACE))

    assert outbox.sending.failed(number, Result("451", {GRACE: "550 nobody"}, {ADA: "451"}, wait=30))

    assert [(mail.state, mail.recipients) for mail in outbox.mails()] == [("waiting", (ADA, GRACE))]


def test_a_mail_whose_recipients_are_all_given_up_does_not_wait(outbox: Outbox) -> None:
    number = outbox.post(a_message(), [ADA])

    assert outbox.sending.failed(number, Result("550", {ADA: "550 nobody"}))

    assert [mail.state for mail in outbox.mails()] == ["dead"]


def test_two_digests_with_the_same_errors_report_them_once(outbox: Outbox) -> None:
    outbox.record([an_event(A)] * 3)
    first, second = a_digest(outbox), a_digest(outbox)
    outbox.record([an_event(A)] * 5)

    assert outbox.sending.sent(first, Result("250"))
    assert outbox.sending.sent(second, Result("250"))

    assert [(group.count, group.reported) for group in outbox.unreported()] == [(8, 3)]


def test_a_group_that_was_resolved_and_came_back_while_its_digest_left_is_mailed_at_once(
    outbox: Outbox, clock: FakeClock
) -> None:
    outbox.record([an_event(A)])
    a_digest(outbox)
    claimed = due(outbox)
    clock.advance(1)
    assert outbox.resolve(A)
    clock.advance(1)
    outbox.record([an_event(A)])
    assert outbox.sending.sent(claimed.id, Result("250"))

    assert outbox.sending.digest_is_due(900, 0)


def test_purging_removes_finished_mail_and_nothing_else(outbox: Outbox, clock: FakeClock) -> None:
    for name in ("waiting", "old", "new", "dead"):
        clock.advance(100 if name == "new" else 0)
        number = a_digest(outbox, name)
        if name == "dead":
            outbox.sending.dead(number, Result("554"))
        elif name != "waiting":
            outbox.sending.sent(number, Result("250"))

    assert outbox.purge() == outbox.purge(older_than=101, sent=True) == 0
    assert outbox.purge(older_than=100, sent=True) == 1
    assert set(by_subject(outbox)) == {"waiting", "new", "dead"}
    assert outbox.purge(dead=True, sent=True) == 2
    assert set(by_subject(outbox)) == {"waiting"}
    assert outbox.sending.digests_within(1_000) == 3  # The cap must hold also now.


@pytest.mark.parametrize("end", [None, "put off", "refused", "in flight"])
def test_one_mail_is_removed_and_its_errors_are_reported_by_the_next(outbox: Outbox, end: str | None) -> None:
    outbox.record([*[an_event(A)] * 3, an_event(B)])
    other = outbox.post(a_message(), ["grace@example.org"])
    number = a_digest(outbox)
    if end == "put off":
        assert outbox.sending.failed(number, Result("451 later", wait=60))
    elif end == "refused":
        assert outbox.sending.dead(number, Result("550 no"), refused=True)
    elif end == "in flight":
        assert outbox.sending.failed(other, Result("451 later", wait=60))
        assert due(outbox).id == number

    assert (outbox.purge(number), outbox.purge(number)) == (1, 0)
    assert [mail.id for mail in outbox.mails()] == [other]
    assert {group.fingerprint: group.count - group.reported for group in outbox.unreported()} == {A: 3, B: 1}
    assert not outbox.sending.sent(number, Result("250"))
    content = outbox.sending.content(a_digest(outbox))
    assert content is not None
    assert {share.fingerprint: share.new for share in content.shares} == {A: 3, B: 1}


def test_a_removed_digest_lets_the_next_one_name_the_dead_mails(outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    dead = a_digest(outbox)
    outbox.sending.dead(dead, Result("550 no"))
    named_it = a_digest(outbox)

    outbox.purge(named_it)

    content = outbox.sending.content(a_digest(outbox))
    assert content is not None
    assert [each.id for each in content.undelivered] == [dead]


def test_a_removed_digest_that_was_sent_has_named_the_dead_mails(outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    outbox.sending.dead(a_digest(outbox), Result("550 no"))
    left = a_digest(outbox)
    assert outbox.sending.sent(left, Result("250"))

    assert outbox.purge(left) == 1

    outbox.record([an_event(B)])
    content = outbox.sending.content(a_digest(outbox))
    assert content is not None
    assert (content.undelivered, [share.fingerprint for share in content.shares]) == ([], [B])


def test_digests_are_counted_from_the_time_they_left(outbox: Outbox, clock: FakeClock) -> None:
    first = a_digest(outbox)
    clock.advance(100_000)
    outbox.sending.sent(first, Result("250"))
    clock.advance(10)
    outbox.sending.sent(a_digest(outbox), Result("250"))

    assert [outbox.sending.digests_within(seconds) for seconds in (11, 10, 1, 0)] == [2, 1, 1, 0]
    assert outbox.sending.latest_digests(5) == [0, 10]


def test_the_newest_mails_are_listed_first(outbox: Outbox, clock: FakeClock) -> None:
    for name in "abc":
        a_digest(outbox, name)
        clock.advance(1)

    assert [mail.subject for mail in outbox.mails()] == ["c", "b", "a"]
    assert [mail.subject for mail in outbox.mails(limit=1)] == ["c"]
    assert outbox.mails("dead") == []


def test_a_dead_digest_is_named_by_one_that_leaves(outbox: Outbox) -> None:
    def named(number: int) -> list[tuple[str, int]]:
        content = outbox.sending.content(number)
        assert content is not None
        return [(each.reason, each.errors) for each in content.undelivered]

    outbox.record([an_event(A), an_event(A)])
    outbox.sending.dead(a_digest(outbox), Result("550 no"), refused=True)
    second = a_digest(outbox)
    assert named(second) == [("550 no", 2)]
    outbox.sending.dead(second, Result("551 no"), refused=True)
    third = a_digest(outbox)
    assert named(third) == [("550 no", 2), ("551 no", 2)]
    outbox.sending.sent(third, Result("250"))
    outbox.record([an_event(A)])

    assert named(a_digest(outbox)) == []


def test_a_refused_group_makes_no_digest_due_before_its_next_power_of_two_or_the_end_of_its_window(
    outbox: Outbox, clock: FakeClock
) -> None:
    outbox.record([an_event(A)] * 3)
    outbox.sending.dead(a_digest(outbox), Result("554 virus"), refused=True)

    assert not outbox.sending.digest_is_due(900, 0)
    outbox.record([an_event(A)])
    assert outbox.sending.digest_is_due(900, 0)
    outbox.sending.dead(a_digest(outbox), Result("554 virus"), refused=True)
    clock.advance(899)
    assert not outbox.sending.digest_is_due(900, 0)
    clock.advance(1)
    assert outbox.sending.digest_is_due(900, 0)
