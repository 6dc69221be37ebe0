"""The arithmetic of mailing: when a group is due, and when a mail is tried again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartblog.delivery import Outbox
from quartblog.delivery.mail.schedule import HOUR, held_since, is_due, next_power_of_two, pause
from quartblog.delivery.options import MailingOptions, Reader
from tests.support.clocks import START, FakeClock
from tests.support.failures import a_group, a_mail, an_event

if TYPE_CHECKING:
    from quartblog.delivery.store.groups import Group

OPTIONS = MailingOptions(window_seconds=900.0, retry_min=5.0, retry_max=300.0)


def test_a_group_is_due_the_first_time() -> None:
    assert is_due(a_group(), START, OPTIONS)


def test_a_group_that_was_reported_in_full_is_not_due() -> None:
    assert not is_due(a_group(count=5, reported=5, last_reported=START), START + 10_000, OPTIONS)


@pytest.mark.parametrize(
    ("reported", "count", "due"),
    [
        (1, 2, True),
        (2, 3, False),
        (2, 4, True),
        (3, 4, True),
        (5, 7, False),
        (5, 8, True),
        (8, 15, False),
        (8, 16, True),
    ],
)
def test_a_group_is_due_again_at_each_power_of_two(reported: int, count: int, due: bool) -> None:  # noqa: FBT001
    assert is_due(a_group(count=count, reported=reported, last_reported=START), START + 1, OPTIONS) is due


def test_a_group_that_goes_on_is_due_when_its_window_ends() -> None:
    group = a_group(count=700, reported=600, last_reported=START)

    assert not is_due(group, START + 899.9, OPTIONS)
    assert is_due(group, START + 900, OPTIONS)


def test_a_resolved_group_that_fails_again_is_due_at_once() -> None:
    assert is_due(a_group(count=601, reported=600, last_reported=START, reopened=True), START + 1, OPTIONS)


def test_a_clock_that_was_set_back_holds_no_group() -> None:
    assert is_due(a_group(count=601, reported=600, last_reported=START), START - 3_600, OPTIONS)


@given(st.integers(0, 10**12))
def test_the_next_power_of_two_is_above_and_not_more_than_twice_the_count(count: int) -> None:
    power = next_power_of_two(count)

    assert power.bit_count() == 1
    assert count < power <= max(1, 2 * count)


def test_the_bound_of_the_pause_doubles_up_to_retry_max() -> None:
    assert [pause(failures, OPTIONS, 1.0) for failures in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert pause(10**6, OPTIONS, 1.0) == 300


@given(st.integers(1, 100), st.floats(0, 1))
def test_the_pause_is_anything_below_its_bound(failures: int, chance: float) -> None:
    assert 0 <= pause(failures, OPTIONS, chance) <= pause(failures, OPTIONS, 1.0)
    assert pause(failures, OPTIONS, 0.5) == pause(failures, OPTIONS, 1.0) / 2


@pytest.mark.parametrize(
    "changes",
    [
        {"mails_per_hour": 0},
        {"retry_min": 0.0},
        {"retry_min": 10.0, "retry_max": 5.0},
        {"batch_seconds": -1.0},
        {"window_seconds": -1.0},
        {"retry_for": -1.0},
    ],
)
def test_bounds_that_cannot_hold_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        MailingOptions(**changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"to": ()}, "at least one address"),
        ({"to": ("ops",)}, "not a mail address"),
        ({"level": "LOUD"}, "logging level"),
    ],
)
def test_a_reader_that_is_nobody_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Reader(**{"to": ("ops@example.org",), **changes})


CAPPED = MailingOptions(mails_per_hour=3, batch_seconds=5.0, window_seconds=900.0)
LEFT = [START, START - 10, START - 20]
"""When the cap was reached at noon."""


def test_what_failed_while_the_hour_was_full_was_held_since_then() -> None:
    groups = [a_group(first_seen=START + 70), a_group(first_seen=START + 60), a_group(first_seen=START + HOUR)]

    assert held_since(groups, LEFT, CAPPED) == START + 60


def test_what_had_waited_already_when_the_hour_became_full_was_held_from_there_on() -> None:
    assert held_since([a_group(first_seen=START - 1)], LEFT, CAPPED) == START


@pytest.mark.parametrize(
    ("group", "left"),
    [
        pytest.param(a_group(first_seen=START + 60), LEFT[:2], id="fewer than the cap"),
        pytest.param(a_group(first_seen=START + 60), [START, START - 10, START - HOUR], id="within more than an hour"),
        pytest.param(a_group(first_seen=START + 1), [START, START - 10, START - HOUR + 4], id="held by its batch"),
        pytest.param(a_group(first_seen=START + HOUR - 20), LEFT, id="when the next could leave"),
        pytest.param(a_group(first_seen=START - HOUR, reported=8, count=9, last_reported=START + HOUR - 500), LEFT,
            id="not due before the next could leave"),
        pytest.param(a_group(first_seen=START - HOUR, reported=1, count=2, last_reported=START, samples=(
            an_event(created=START + HOUR), an_event(created=START))), LEFT, id="its new one came later"),
    ],
)  # fmt: skip
def test_the_cap_held_nothing_that_did_not_wait_for_it(group: Group, left: list[float]) -> None:
    assert held_since([group], left, CAPPED) is None


@pytest.mark.parametrize("died", [False, True])
@pytest.mark.parametrize("reported", [1, 2, 3, 5, 8])
def test_the_outbox_has_the_same_rules(reported: int, died: bool) -> None:  # noqa: FBT001
    clock = FakeClock(START)
    outbox = Outbox(clock=clock)
    event = an_event(created=START)
    outbox.record([event] * reported)
    mail = replace(a_mail(), counts={event.fingerprint: reported})
    number = outbox.begin_mail(mail, {event.fingerprint: reported})
    if died:
        outbox.dead(number, "550")

    seen = []
    for _ in range(reported + 3):
        outbox.record([event])
        group = outbox.group(event.fingerprint)
        assert group is not None
        seen.append(is_due(group, START, OPTIONS))
        assert outbox.due(OPTIONS.window_seconds) == [event.fingerprint] * seen[-1]
    outbox.close()

    assert True in seen
