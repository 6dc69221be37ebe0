"""The arithmetic of mailing: what the cap held back, and when a mail is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartblog.delivery.mail.schedule import HOUR, held_since, pause
from quartblog.delivery.options import MailingOptions, Reader
from tests.support.clocks import START
from tests.support.failures import a_group, an_event

if TYPE_CHECKING:
    from quartblog.delivery.store.groups import Group

OPTIONS = MailingOptions(window_seconds=900.0, retry_min=5.0, retry_max=300.0)


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
def test_a_route_that_leads_nowhere_is_refused(changes: dict[str, Any], why: str) -> None:
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
        pytest.param(a_group(first_seen=START - HOUR, reported=1, count=2, last_reported=START, samples=(
            an_event(created=START + HOUR), an_event(created=START))), LEFT, id="its new one came later"),
    ],
)  # fmt: skip
def test_the_cap_held_nothing_that_did_not_wait_for_it(group: Group, left: list[float]) -> None:
    assert held_since([group], left, CAPPED) is None
