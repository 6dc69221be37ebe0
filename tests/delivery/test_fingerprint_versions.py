"""An upgrade of the fingerprint: what the outbox holds of the version before goes on under the current one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Outbox, OutboxOptions
from tests.support.clocks import START, FakeClock
from tests.support.failures import an_event

if TYPE_CHECKING:
    from collections.abc import Iterator

BEFORE, NOW, OTHER = "00000000000000aa", "2-00000000000000bb", "2-00000000000000cc"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def outbox(path: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(path), clock=clock)
    outbox.record([an_event(BEFORE, title="ExceptionGroup")] * 5)
    yield outbox
    outbox.close()


def counts(outbox: Outbox) -> dict[str, int]:
    return {group.fingerprint: group.count for group in outbox.groups(resolved=None)}


def test_a_group_of_the_version_before_goes_on_as_the_same_group(outbox: Outbox) -> None:
    [before] = outbox.groups()
    outbox.record([an_event(NOW, title="ValueError", earlier=(BEFORE,))] * 2)

    [now] = outbox.groups()
    assert (now.id, now.fingerprint, now.title, now.count) == (before.id, NOW, "ValueError", 7)
    outbox.record([an_event(NOW, earlier=(BEFORE,))])
    assert counts(outbox) == {NOW: 8}


def test_a_resolved_group_is_reopened_and_not_new(outbox: Outbox) -> None:
    assert outbox.resolve(BEFORE)
    outbox.record([an_event(NOW, earlier=(BEFORE,), created=START + 1)])

    [now] = outbox.groups()
    assert now.reopened
    assert (now.first_seen, now.count) == (START, 6)


def test_further_parts_of_a_split_group_are_new_groups(outbox: Outbox) -> None:
    outbox.record([an_event(NOW, earlier=(BEFORE,))])
    outbox.record([an_event(OTHER, earlier=(BEFORE,))])

    assert counts(outbox) == {NOW: 6, OTHER: 1}


def test_an_error_that_has_no_group_under_any_version_begins_one(outbox: Outbox) -> None:
    outbox.record([an_event(OTHER, earlier=("00000000000000dd", "00000000000000ee"))])

    assert counts(outbox) == {BEFORE: 5, OTHER: 1}


def test_the_latest_of_several_versions_before_that_has_a_group_goes_on(outbox: Outbox) -> None:
    outbox.record([an_event(NOW, earlier=("00000000000000dd", BEFORE))])

    assert counts(outbox) == {NOW: 6}


def test_a_process_that_still_runs_the_version_before_makes_a_group_of_its_own(outbox: Outbox) -> None:
    outbox.record([an_event(NOW, earlier=(BEFORE,))])
    outbox.record([an_event(BEFORE)])
    outbox.record([an_event(NOW, earlier=(BEFORE,))])

    assert counts(outbox) == {NOW: 7, BEFORE: 1}


def test_what_memory_held_during_an_outage_goes_to_the_group_of_the_version_before(
    outbox: Outbox, path: Path, clock: FakeClock
) -> None:
    outbox.close()
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    outbox.record([an_event(NOW, title="ValueError", earlier=(BEFORE,))])
    assert outbox.in_memory
    path.rmdir()
    aside.rename(path)
    clock.advance(10)
    outbox.record([an_event(OTHER)])

    assert not outbox.in_memory
    assert counts(outbox) == {NOW: 6, OTHER: 1}
