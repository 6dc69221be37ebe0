"""The outbox stays within its bounds: counts stay longest, and what waits to be mailed stays."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery.options import LEAST_BYTES, MOST_SAMPLES, OutboxOptions
from quartblog.delivery.store.mails import Result
from quartblog.delivery.store.outbox import Outbox
from quartblog.delivery.store.retention import MEMORY_BYTES
from tests.support.clocks import START, FakeClock
from tests.support.failures import a_digest, a_message, an_event, long_text, report_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86_400.0
BOUND = LEAST_BYTES


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(tmp_path: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(tmp_path / "outbox.sqlite3", max_bytes=BOUND, max_age=30 * DAY), clock=clock)
    yield outbox
    outbox.close()


def rows(outbox: Outbox, query: str) -> list[tuple[Any, ...]]:
    """Ask the file, from outside."""
    assert outbox.path is not None
    with closing(sqlite3.connect(outbox.path)) as file:
        return file.execute(query).fetchall()


def used(outbox: Outbox) -> int:
    """Bytes of the file that hold something."""
    [(size,)], [(pages,)], [(free,)] = (
        rows(outbox, f"PRAGMA {name}") for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def key(number: int) -> str:
    return f"{number:016x}"


def test_old_samples_make_room_and_counts_stay(outbox: Outbox) -> None:
    for round_ in range(10):
        for number in range(20):
            outbox.record([an_event(key(number), traceback=long_text(20_000), created=START + round_)])
            assert used(outbox) <= BOUND

    groups = outbox.groups(samples=10)

    assert [group.count for group in groups] == [10] * 20
    assert max(len(group.samples) for group in groups) < 10
    assert min(len(group.samples) for group in groups) >= 1  # The newest of each stays longest.
    assert groups[0].samples[0].created == START + 9


def test_as_many_samples_are_kept_as_may_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="samples is 1 to 1000, not 1001"):
        OutboxOptions(samples=MOST_SAMPLES + 1)
    options = OutboxOptions(path=tmp_path / "many.sqlite3", samples=MOST_SAMPLES)
    outbox = Outbox(options)

    outbox.record([an_event(error_id=str(number)) for number in range(MOST_SAMPLES + 1)])

    [group] = outbox.groups(samples=2 * MOST_SAMPLES)
    assert len(group.samples) == MOST_SAMPLES
    outbox.close()


def tracebacks(outbox: Outbox) -> list[bytes]:
    return [text for [text] in rows(outbox, "SELECT text FROM tracebacks")]


def test_a_traceback_is_kept_once_and_as_long_as_a_sample_shows_it(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(key(number), traceback="shared", created=clock.wall()) for number in range(3)])
    outbox.record([an_event(key(number), traceback=f"own {number}") for number in range(3)])
    assert sorted(tracebacks(outbox)) == [b"own 0", b"own 1", b"own 2", b"shared"]

    clock.advance(DAY)
    outbox.record([an_event(key(1), traceback="shared", created=clock.wall()) for _ in range(10)])
    assert sorted(tracebacks(outbox)) == [b"own 0", b"own 2", b"shared"]

    clock.advance(29.5 * DAY)
    outbox.housekeeping()
    assert tracebacks(outbox) == [b"shared"]
    assert {sample.traceback for group in outbox.groups(samples=10) for sample in group.samples} == {"shared"}


def test_the_texts_of_sent_mails_make_room_first_and_waiting_ones_stay(outbox: Outbox) -> None:
    sent = [a_digest(outbox, "sent", data=os.urandom(110_000)) for _ in range(3)]
    for number in sent:
        outbox.sending.sent(number, Result("250"))
    waiting = post(outbox, "waiting", 360_000)
    [data] = [mail.data for mail in outbox.mails() if mail.id == waiting]
    dead = a_digest(outbox, "dead", data=b"d" * 1000)
    outbox.sending.dead(dead, Result("554"))

    outbox.record([an_event(key(1), traceback=long_text(44_000), error_id=f"id{number}") for number in range(9)])

    mails = outbox.mails()
    assert len(mails) == 5
    assert {len(mail.data) for mail in mails if mail.state == "sent"} <= {0, 110_000}
    assert min(len(mail.data) for mail in mails if mail.state == "sent") == 0
    assert next(mail.data for mail in mails if mail.state == "waiting") == data
    assert len(next(mail.data for mail in mails if mail.state == "dead")) == 1000
    group = outbox.group(key(1))
    assert group is not None
    assert len(group.samples) == 9  # Deleting the mails gave enough room.


def test_no_more_room_is_made_than_is_needed(outbox: Outbox) -> None:
    for number in range(12):
        outbox.record([an_event(key(1), traceback=long_text(100_000), created=START + number)])

    assert BOUND * 0.6 < used(outbox) <= BOUND


def test_when_nothing_else_is_left_the_oldest_reported_groups_go(tmp_path: Path, clock: FakeClock) -> None:
    outbox = Outbox(OutboxOptions(tmp_path / "small.sqlite3", max_bytes=BOUND), clock=clock)
    far = "p" * 2_500
    outbox.record([an_event(key(number), place=far, created=START + number) for number in range(20)])
    reported = outbox.groups(limit=10)
    a_digest(outbox)

    for number in range(20, 300):
        outbox.record([an_event(key(number), place=far, created=START + number)])

    left = {int(group.fingerprint, 16) for group in outbox.groups(limit=1_000)}
    assert used(outbox) <= BOUND
    assert 299 in left
    assert not left & {int(group.fingerprint, 16) for group in reported}
    assert len(outbox.mails("waiting")) == 1
    outbox.close()


def test_the_file_gives_room_back(outbox: Outbox, tmp_path: Path, clock: FakeClock) -> None:
    outbox.record([an_event(key(number), traceback=long_text(20_000)) for number in range(20)])
    outbox.close()
    before = (tmp_path / "outbox.sqlite3").stat().st_size
    clock.advance(31 * DAY)

    outbox.housekeeping()
    outbox.close()

    with closing(Outbox(OutboxOptions(tmp_path / "new.sqlite3"), clock=clock)) as new:
        new.open()
    empty = (tmp_path / "new.sqlite3").stat().st_size
    assert before > empty + 300_000
    assert (tmp_path / "outbox.sqlite3").stat().st_size <= empty + 16_384


def test_finished_rows_are_deleted_by_their_age(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(key(1)), an_event(key(2))])
    report_all(outbox)
    for name in ("sent", "dead", "waiting"):
        number = outbox.post(a_message(subject=name), ["ada@example.org"])
        if name == "sent":
            outbox.sending.sent(number, Result("250"))
        elif name == "dead":
            outbox.sending.dead(number, Result("554"))
    outbox.heartbeats.beat("host:1", leader=True, figures={})
    clock.advance(DAY / 2)
    outbox.housekeeping()
    assert len(outbox.mails()) == 4
    assert len(outbox.workers()) == 1
    assert outbox.sending.digests_within(10 * DAY) == 1
    clock.advance(DAY)
    outbox.housekeeping()
    assert len(outbox.mails()) == 4
    assert outbox.workers() == []
    assert outbox.sending.digests_within(10 * DAY) == 0
    outbox.record([an_event(key(2), created=clock.wall())])
    clock.advance(29 * DAY)

    outbox.housekeeping()

    assert [group.fingerprint for group in outbox.groups(samples=10)] == [key(2)]
    assert [group.count for group in outbox.groups()] == [2]
    assert [len(group.samples) for group in outbox.groups(samples=10)] == [1]
    assert [mail.subject for mail in outbox.mails()] == ["waiting"]


def test_errors_deleted_before_a_mail_reported_them_are_counted(
    outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    outbox.record([*[an_event(key(1))] * 2, an_event(key(3))])
    report_all(outbox)
    outbox.record([*[an_event(key(1))] * 3, *[an_event(key(2))] * 3, an_event(key(4))])
    assert outbox.resolve(key(4))
    clock.advance(29 * DAY)
    outbox.housekeeping()
    assert caplog.messages == []
    clock.advance(2 * DAY)

    for _ in range(2):
        outbox.housekeeping()

    assert caplog.messages == [
        "Errors were deleted for their age before a mail reported them: 6 since this process started"
    ]
    assert outbox.totals().old_errors == 6


def crowd(outbox: Outbox, count: int, first: int = 1) -> None:
    """Errors of many kinds, which no mail reports."""
    for number in range(first, first + count):
        outbox.record([an_event(key(number), place="p" * 2_500, function=key(number))])


def post(outbox: Outbox, subject: str, size: int = 200_000) -> int:
    """Post a mail of about this many bytes."""
    return outbox.post(a_message(os.urandom(size // 2).hex(), subject=subject), ["ada@example.org"])


def test_waiting_mail_leaves_half_of_the_room_to_errors(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    crowd(outbox, 5)
    for number in range(8):
        post(outbox, f"mail {number}")
    a_digest(outbox, "a digest", data=os.urandom(200_000))
    crowd(outbox, 5, first=6)

    assert used(outbox) <= BOUND
    assert len(outbox.groups()) == 10
    waiting, dead = outbox.mails("waiting"), outbox.mails("dead")
    assert {mail.subject for mail in waiting} == {"a digest", *(f"mail {number}" for number in range(len(dead), 8))}
    assert [mail.data for mail in waiting if mail.kind == "digest"] == [b""], "it gets a new text when it is sent"
    assert {(mail.data, mail.last_error) for mail in dead} == {(b"", "the outbox was full")}
    totals = outbox.totals()
    assert (totals.crowded_mails, totals.crowded_errors, totals.last_loss) == (len(dead), 0, START)
    assert (totals.waiting, totals.dead) == (len(waiting), len(dead))
    assert outbox.retry() == len(waiting), "what has no text is not sent"
    assert caplog.messages[0].startswith("The outbox is full: mails that no recipient got lost their text: ")
    assert "The outbox is full" in capfd.readouterr().err


def test_errors_that_had_to_make_room_are_counted_and_the_log_repeats_it_as_they_grow(
    outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    post(outbox, "waits", BOUND // 2 - 60_000)
    crowd(outbox, 600)

    kept = sum(group.count for group in outbox.groups(limit=1_000))
    assert used(outbox) <= BOUND
    assert 0 < kept < 600
    assert outbox.totals().crowded_errors == 600 - kept
    assert outbox.group(key(600)) is not None, "the newest stay"
    assert len(outbox.mails("waiting")) == 1
    assert 1 < len(caplog.messages) < 12
    outbox.close()
    with closing(Outbox(OutboxOptions(tmp_path / "outbox.sqlite3"))) as again:
        assert again.totals().crowded_errors == 600 - kept


def test_reported_groups_and_resolved_ones_make_room_without_a_loss(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    crowd(outbox, 150)
    for number in range(101, 151):
        outbox.resolve(key(number))
    report_all(outbox)
    crowd(outbox, 200, first=151)

    assert outbox.group(key(1)) is None
    assert len(outbox.unreported(samples=0)) == 200

    totals = outbox.totals()
    assert (totals.crowded_errors, totals.crowded_mails) == (0, 0)
    assert caplog.messages == []


def test_groups_that_wait_for_a_digest_stay_while_reported_ones_make_room(outbox: Outbox) -> None:
    crowd(outbox, 150, first=2)
    report_all(outbox)
    outbox.record([an_event(key(1))] * 50)
    a_digest(outbox)
    crowd(outbox, 150, first=152)
    assert outbox.group(key(2)) is None

    assert [group.count for group in outbox.unreported() if group.fingerprint == key(1)] == [50]
    assert outbox.totals().crowded_errors == 0


def test_groups_that_a_waiting_digest_is_to_report_stay_however_old_they_are(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(key(2))])
    report_all(outbox)
    outbox.record([an_event(key(1))])
    waiting = a_digest(outbox)
    clock.advance(31 * DAY)
    outbox.housekeeping()
    assert [group.fingerprint for group in outbox.groups()] == [key(1)]

    outbox.sending.dead(waiting, Result("554 no"), refused=True)
    outbox.housekeeping()

    assert outbox.groups() == []
    assert outbox.totals().old_errors == 1


def test_a_dead_letter_whose_text_made_room_is_counted(outbox: Outbox) -> None:
    outbox.sending.dead(post(outbox, "dead", 500_000), Result("554 no"))

    crowd(outbox, 300)

    assert outbox.totals().crowded_mails == 1
    assert outbox.retry() == 0


def test_a_mail_that_some_recipients_got_is_not_lost_with_the_text_for_the_others(outbox: Outbox) -> None:
    to_both = ["ada@example.org", "grace@example.org"]
    for number in range(3):
        mail = outbox.post(a_message("x" * 100_000, subject=f"to one {number}"), to_both)
        assert outbox.sending.sent(mail, Result("250", {"grace@example.org": "550 nobody"}))
    to_nobody = outbox.post(a_message("x" * 100_000, subject="to nobody"), to_both)
    assert outbox.sending.failed(to_nobody, Result("451", {"grace@example.org": "550 nobody"}))
    assert outbox.sending.dead(to_nobody, Result("554 no"))

    crowd(outbox, 220)

    assert {mail.data for mail in outbox.mails("dead")} <= {b""}
    assert outbox.totals().crowded_mails == 1


def test_a_dead_digest_is_lost_neither_with_its_text_nor_with_its_row(outbox: Outbox) -> None:
    outbox.record([an_event(key(1_000))])
    outbox.sending.dead(a_digest(outbox, data=b"x" * 300_000), Result("554 no"))

    crowd(outbox, 150)
    assert [mail.data for mail in outbox.mails("dead")] == [b""]
    crowd(outbox, 500, first=151)

    assert outbox.mails("dead") == []
    assert outbox.totals().crowded_mails == 0


def test_a_mail_is_counted_once_however_much_of_it_makes_room(outbox: Outbox) -> None:
    for number in range(10):
        post(outbox, f"waits {number}", 100_000)
    outbox.sending.dead(post(outbox, "dead", 100_000), Result("554 no"))

    crowd(outbox, 1_500)

    totals = outbox.totals()
    assert outbox.mails("dead") == [], "even the rows are gone"
    assert totals.crowded_mails + totals.waiting == 11


def test_posted_mail_is_inside_the_bound_at_once(outbox: Outbox) -> None:
    for number in range(12):
        post(outbox, f"mail {number}")
        assert used(outbox) <= BOUND

    totals = outbox.totals()
    assert totals.crowded_mails + totals.waiting == 12


def test_the_copies_of_a_mail_for_those_who_are_put_off_are_inside_the_bound_at_once(outbox: Outbox) -> None:
    readers = [f"reader{number}@example.org" for number in range(30)]
    number = outbox.post(a_message("x" * 100_000), [*readers, "ada@example.org"])

    assert outbox.sending.sent(number, Result("250", put_off=dict.fromkeys(readers, "452 full")))

    assert used(outbox) <= BOUND


def test_a_large_batch_does_not_pass_the_bound_by_far(outbox: Outbox) -> None:
    assert outbox.path is not None
    batch = [an_event(key(number), traceback=long_text(40_000)) for number in range(300)]
    batch += [an_event(key(1), traceback=long_text(40_000), error_id=f"id{number}") for number in range(10)]

    assert outbox.record(batch) == 310

    assert used(outbox) <= BOUND
    assert outbox.path.stat().st_size < 4 * BOUND
    assert sum(group.count for group in outbox.groups(limit=1_000)) == 310


def test_a_failure_with_more_text_than_a_transaction_takes_is_counted_exactly(tmp_path: Path) -> None:
    with closing(Outbox(OutboxOptions(tmp_path / "many.sqlite3", samples=100))) as outbox:
        batch = [an_event(error_id=str(number), traceback=long_text(40_000)) for number in range(150)]

        assert outbox.record(batch) == 150

        [group] = outbox.groups(samples=200)
        assert group.count == 150
        assert [sample.error_id for sample in group.samples] == [str(number) for number in range(149, 49, -1)]


def test_an_error_that_cannot_be_stored_costs_no_other_one_of_a_large_batch(
    outbox: Outbox, capfd: pytest.CaptureFixture[str]
) -> None:
    batch = [an_event(key(number), traceback=long_text(600_000)) for number in range(5)]
    batch[2:2] = [an_event(key(9), level=2**64, traceback=long_text(2_000_000))] * 2

    assert outbox.record(batch) == 5

    assert {group.fingerprint for group in outbox.groups()} == {key(number) for number in range(5)}
    assert "1 error could not be stored" in capfd.readouterr().err


def test_old_rows_leave_in_short_transactions(outbox: Outbox, clock: FakeClock) -> None:
    assert outbox.path is not None
    outbox.reconfigure(OutboxOptions(outbox.path, max_age=30 * DAY))
    assert outbox.record([an_event(key(number)) for number in range(5_000)]) == 5_000
    clock.advance(31 * DAY)
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as file:
        commits = {file.execute("PRAGMA data_version").fetchone()}
        cleaning = threading.Thread(target=outbox.housekeeping)
        cleaning.start()
        while cleaning.is_alive():
            cleaning.join(0.001)
            commits.add(file.execute("PRAGMA data_version").fetchone())

    assert len(commits) > 4
    assert outbox.groups() == []
    assert outbox.totals().old_errors == 5_000


def test_many_waiting_mails_make_room_in_a_time_that_grows_with_their_number(outbox: Outbox, clock: FakeClock) -> None:
    assert outbox.path is not None
    outbox.open()
    with closing(sqlite3.connect(outbox.path)) as file, file:
        file.execute(
            """WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers LIMIT 12000)
            INSERT INTO mails (message_id, kind, subject, data, recipients, created, since, next_try)
            SELECT number, 'post', number, randomblob(3000), '["ada@example.org"]', ?, 0, 0 FROM numbers""",
            (clock.wall(),),
        )
    began = time.monotonic()

    outbox.housekeeping()

    assert time.monotonic() - began < 20
    assert used(outbox) <= BOUND
    totals = outbox.totals()
    assert totals.crowded_mails + totals.waiting == 12_000
    assert {mail.subject for mail in outbox.mails("waiting", 100)} == {str(12_000 - number) for number in range(100)}


def test_other_processes_write_while_many_rows_make_room(outbox: Outbox, clock: FakeClock) -> None:
    assert outbox.path is not None
    outbox.open()
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as file:
        file.execute(
            """WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers LIMIT 12000)
            INSERT INTO mails (message_id, kind, subject, data, recipients, created, since, next_try, state)
            SELECT number, 'post', number, randomblob(3000), '["ada@example.org"]', ?, 0, 0, 'sent' FROM numbers""",
            (clock.wall(),),
        )
        commits = {file.execute("PRAGMA data_version").fetchone()}
        cleaning = threading.Thread(target=outbox.housekeeping)
        cleaning.start()
        while cleaning.is_alive():
            cleaning.join(0.01)
            commits.add(file.execute("PRAGMA data_version").fetchone())

    assert len(commits) > 4


@pytest.mark.parametrize("reported", [True, False])
def test_a_mute_outlives_the_age_of_its_group(outbox: Outbox, clock: FakeClock, *, reported: bool) -> None:
    outbox.record([an_event(key(1)), an_event(key(2))])
    if reported:
        report_all(outbox)
    assert outbox.mute(key(1), 60 * DAY)
    clock.advance(59 * DAY)
    outbox.housekeeping()
    outbox.record([an_event(key(1))])
    assert [group.fingerprint for group in outbox.groups()] == [key(1)]
    assert outbox.unreported() == []

    clock.advance(DAY)
    assert [group.fingerprint for group in outbox.unreported()] == [key(1)]
    clock.advance(31 * DAY)
    outbox.housekeeping()
    assert outbox.groups() == []


@pytest.mark.parametrize("reported", [True, False])
def test_a_muted_group_makes_room_after_all_others(outbox: Outbox, *, reported: bool) -> None:
    crowd(outbox, 150)
    if reported:
        report_all(outbox)
    assert outbox.mute(key(1), DAY)
    crowd(outbox, 170 if reported else 250, first=151)

    assert outbox.group(key(1)) is not None
    assert outbox.group(key(2)) is None
    assert used(outbox) <= BOUND


def test_a_heartbeat_notes_for_an_hour_what_the_full_outbox_dropped(outbox: Outbox, clock: FakeClock) -> None:
    def noted() -> tuple[str, ...]:
        outbox.heartbeats.beat("here:1", leader=False, figures={})
        return outbox.heartbeats.recent_losses

    assert noted() == ()
    crowd(outbox, 600)
    for number in range(20):
        post(outbox, f"mail {number}")
    crowd(outbox, 1, first=601)

    assert noted() == ("outbox full: errors were dropped", "outbox full: mails were dropped")
    clock.advance(3_599)
    assert len(noted()) == 2
    clock.advance(2)
    assert noted() == ()


def test_errors_that_leave_for_their_age_do_not_fill_the_outbox(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event()])
    clock.advance(31 * DAY)
    outbox.housekeeping()
    outbox.heartbeats.beat("here:1", leader=False, figures={})

    assert outbox.totals().old_errors == 1
    assert outbox.heartbeats.recent_losses == ()


def test_memory_has_the_same_rules(clock: FakeClock) -> None:
    outbox = Outbox(clock=clock)
    for number in range(60):
        post(outbox, f"mail {number}")
    outbox.record([an_event()])

    totals = outbox.totals()
    assert totals.open_groups == 1
    assert totals.waiting + totals.crowded_mails == 60
    assert sum(len(mail.data) for mail in outbox.mails()) <= MEMORY_BYTES
    outbox.close()


def test_losses_of_an_outage_are_counted_with_those_of_the_file(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "data" / "outbox.sqlite3"
    path.parent.touch()
    outbox = Outbox(OutboxOptions(path), clock=clock)
    for number in range(60):
        post(outbox, f"mail {number}")
    outbox.record([an_event()])
    lost = outbox.totals().crowded_mails
    path.parent.unlink()
    clock.advance(3)

    assert outbox.totals().crowded_mails == lost > 0
    assert outbox.healthy
    outbox.close()
