"""What is known beside a group: every id that a visitor may quote, users, hours, releases, mails, and its history."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.grouping.event import Batch
from quartblog.delivery.store.details import HISTORY, IDS, NOTE, USERS, Details
from quartblog.delivery.store.fallback import RETRY_SECONDS
from tests.support.clocks import START, FakeClock
from tests.support.failures import an_event, report_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

A, B = "00000000000000aa", "00000000000000bb"
HOUR = 3_600


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def outbox(path: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(path, release="2.0"), clock=clock)
    yield outbox
    outbox.close()


def details(outbox: Outbox, key: str = A) -> Details:
    found = outbox.details(key)
    assert found is not None
    return found


def failing(number: int) -> logging.LogRecord:
    record = logging.LogRecord("app", logging.ERROR, "/srv/a.py", 1, "failed", None, None)
    vars(record).update(error_id=f"id{number:010}", user_id=number % 3)
    return record


def test_each_of_5000_equal_errors_is_found_by_its_id(outbox: Outbox) -> None:
    batch = Batch(10)
    for number in range(5_000):
        batch.add(failing(number))
    outbox.record(batch)

    found = {outbox.group(f"id{number:010}") for number in range(0, 5_000, 499)}
    [group] = found
    assert group is not None
    assert (group.count, group.users, len(group.samples)) == (5_000, 3, 10)
    first = outbox.details("id0000000000", quoted="[id ID0000000000]")
    assert first is not None
    assert [quoted.error_id for quoted in first.ids[:2]] == ["id0000004999", "id0000004998"]
    assert first.asked is not None
    assert (first.asked.error_id, first.asked.user_id) == ("id0000000000", "0")


def test_the_oldest_ids_leave_first(outbox: Outbox) -> None:
    batch, more = Batch(10), Batch(10)
    for number in range(IDS):
        batch.add(failing(number))
    for number in range(IDS, IDS + 20):
        more.add(failing(number))
    outbox.record(batch)
    outbox.record(more)

    found = [outbox.group(f"id{number:010}") is not None for number in (0, 19, 20, IDS - 1, IDS + 19)]
    assert found == [False, False, True, True, True]


def test_users_are_counted_once_each_and_exactly_up_to_a_thousand(outbox: Outbox) -> None:
    def users() -> int:
        group = outbox.group(A)
        assert group is not None
        return group.users

    outbox.record([an_event(A, user_id=user) for user in (1, 2, "2", None, "ada", 1)])
    assert users() == 3
    outbox.record([an_event(A, user_id=number) for number in range(USERS - 2)])
    assert users() == USERS - 1
    outbox.record([an_event(A, user_id=f"more {number}") for number in range(50)])
    outbox.record([an_event(A, user_id=f"again more {number}") for number in range(50)])
    assert users() == USERS + 1


def test_errors_are_counted_by_the_hour_for_thirty_days(outbox: Outbox, clock: FakeClock) -> None:
    first = int(START // HOUR)
    outbox.record([an_event(A)] * 3)
    clock.advance(2 * HOUR)
    outbox.record([an_event(A)])
    outbox.record([an_event(A)])
    assert details(outbox).hours == {first: 3, first + 2: 2}

    clock.advance(29 * 24 * HOUR + 23 * HOUR)
    outbox.record([an_event(A)])
    outbox.housekeeping()
    assert sum(details(outbox).hours.values()) == 3


def test_a_group_names_its_first_and_its_last_release(path: Path, clock: FakeClock) -> None:
    for release in ("", "1.0", "1.1", "2.0"):
        with closing(Outbox(OutboxOptions(path, release=release), clock=clock)) as outbox:
            outbox.record([an_event(A)])
            [group] = outbox.groups()

    assert (group.first_release, group.last_release) == ("1.0", "2.0")


def test_the_history_shows_who_did_what_and_when(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    changes: list[Callable[[], bool]] = [
        lambda: outbox.note(A, "Looks like\nthe disk \ud800", who="ada"),
        lambda: outbox.mute(A, 60, who="ada", note="until lunch"),
        lambda: outbox.reopen(A),
        lambda: outbox.reopen(A),
        lambda: outbox.resolve(A, who="grace\n"),
        lambda: outbox.resolve(A, who="ada"),
    ]
    for change in changes:
        clock.advance(1)
        assert change()
    outbox.record([an_event(A, created=START + 9)])

    assert [(past.at - START, past.who, past.what, past.note) for past in details(outbox).history] == [
        (9, "", "happened again", ""),
        (5, "grace\\n", "resolved", ""),
        (3, "", "reopened", ""),
        (2, "ada", "muted", "until lunch"),
        (1, "ada", "noted", "Looks like\nthe disk ?"),
    ]
    assert not outbox.note("nobody", "text")
    assert outbox.details("nobody") is None


def test_a_group_muted_until_more_errors_comes_back_with_the_one_after(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A)] * 7)
    report_all(outbox)
    assert outbox.mute(A, HOUR, more=10)
    for _ in range(10):
        clock.advance(60)
        outbox.record([an_event(A)])
    assert outbox.unreported() == []

    outbox.record([an_event(A)])

    [group] = outbox.unreported()
    assert (group.count, group.reopened, group.muted_more) == (18, True, None)
    assert outbox.sending.digest_is_due(900, 5)
    assert details(outbox).history[0].what == "was unmuted"


def test_a_window_with_too_few_errors_begins_anew(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    outbox.mute(A, HOUR, more=3)
    for _ in range(20):
        clock.advance(HOUR / 2)
        outbox.record([an_event(A)])
    assert outbox.unreported() == []

    outbox.record([an_event(A)] * 3)
    assert [group.count for group in outbox.unreported()] == [24]


def test_a_group_is_muted_until_its_time_and_no_longer(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    outbox.mute(A, 60)
    muted = outbox.group(A)
    clock.advance(60)
    later = outbox.group(A)

    assert muted is not None
    assert later is not None
    assert (muted.state, later.state) == ("muted", "open")
    assert later.muted_until is None


@pytest.mark.parametrize("more", [None, 10])
def test_an_error_that_comes_back_is_reported_also_if_its_group_was_muted_before(
    outbox: Outbox, more: int | None
) -> None:
    outbox.record([an_event(A)])
    outbox.mute(A, 3_600, more)
    outbox.resolve(A)
    outbox.record([an_event(A)])

    [group] = outbox.unreported()
    assert group.state == "again"


@pytest.mark.parametrize("more", [0, -1])
def test_more_is_at_least_one(outbox: Outbox, more: int) -> None:
    outbox.record([an_event(A)])

    with pytest.raises(ValueError, match="until 1 more error or further ones"):
        outbox.mute(A, 60, more=more)


def test_the_mails_of_a_group_and_their_fate_are_named(outbox: Outbox) -> None:
    outbox.record([an_event(A)] * 3)
    report_all(outbox)

    [fate] = details(outbox).mails
    assert (fate.kind, fate.state, fate.count, fate.why) == ("digest", "sent", 3, "250")
    assert fate.finished is not None


def test_what_happened_in_memory_is_in_the_file_afterwards(outbox: Outbox, path: Path, clock: FakeClock) -> None:
    outbox.record([an_event(A, error_id="before", user_id=1), an_event(B)])
    outbox.resolve(B)
    outbox.close()
    away = path.with_suffix(".away")
    path.rename(away)
    path.mkdir()
    outbox.record([an_event(A, error_id="meanwhile", user_id=user) for user in (1, 2)])
    outbox.note(A, "the disk is away", who="ada")
    outbox.record([an_event(B)])
    path.rmdir()
    away.rename(path)
    clock.advance(RETRY_SECONDS + 1)

    group = outbox.group("meanwhile")

    assert group is not None
    assert group == outbox.group("before")
    assert (group.count, group.users, group.id > 0) == (3, 2, True)
    found = details(outbox)
    assert Counter(quoted.error_id for quoted in found.ids) == {"meanwhile": 2, "before": 1}
    assert sum(found.hours.values()) == 3
    assert [change.note for change in found.history] == ["the disk is away"]
    assert details(outbox, B).history[0].what == "happened again"


def test_a_deleted_group_takes_all_of_it_along(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A, error_id="quoted")])
    outbox.resolve(A, note="done")
    clock.advance(31 * 24 * HOUR)

    outbox.housekeeping()

    assert outbox.group("quoted") is None
    assert outbox.details(A) is None


def test_notes_do_not_grow_without_end(outbox: Outbox) -> None:
    outbox.record([an_event(A), an_event(B)])
    outbox.note(B, "of another group")
    outbox.note(A, "x" * NOTE)
    assert details(outbox).history[0].note == "x" * NOTE

    for number in range(HISTORY):
        outbox.note(A, f"number {number}: {'y' * 100_000}")

    notes = [past.note for past in details(outbox).history]
    assert [note.partition(":")[0] for note in notes] == [f"number {number}" for number in reversed(range(HISTORY))]
    assert all("characters left out" in note and len(note) < NOTE + 50 for note in notes)
    assert [past.note for past in details(outbox, B).history] == ["of another group"]


def test_a_note_stays_even_if_the_group_was_resolved_already(outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    for action, note in (
        (outbox.reopen, "seen"), (outbox.resolve, "fixed"), (outbox.resolve, "in 1.2"), (outbox.resolve, "")
    ):  # fmt: skip
        assert action(A, who="ada", note=note)

    assert [(past.what, past.note) for past in details(outbox).history] == [
        ("noted", "in 1.2"),
        ("resolved", "fixed"),
        ("noted", "seen"),
    ]
