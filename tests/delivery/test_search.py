"""Groups that somebody looks for, page by page."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Outbox, OutboxOptions, Query
from tests.support.clocks import FakeClock
from tests.support.failures import an_event, report_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B, C = "00000000000000aa", "00000000000000bb", "00000000000000cc"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(tmp_path: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(tmp_path / "outbox.sqlite3", release="1.0"), clock=clock)
    yield outbox
    outbox.close()


def keys(outbox: Outbox, **conditions: Any) -> list[str]:
    return [found.group.fingerprint for found in outbox.page(Query(**conditions)).found]


def test_states_and_conditions_choose_the_groups(outbox: Outbox, clock: FakeClock) -> None:
    for key, changes in (
        (A, {"title": "ValueError", "message": "the disk is 满了", "route": "/a"}),
        (B, {"level": logging.CRITICAL, "place": "shop/Cart.py:12", "route": None}),
        (C, {"title": "KeyError"}),
    ):
        outbox.record([an_event(key, **changes)])
        clock.advance(1)
    outbox.resolve(B)
    outbox.mute(C, 60)

    assert keys(outbox) == [C, B, A]
    assert keys(outbox, state="open") == [A]
    assert keys(outbox, state="resolved") == [B]
    assert keys(outbox, state="muted") == [C]
    assert keys(outbox, state="unresolved") == [C, A]
    assert keys(outbox, level=logging.CRITICAL) == [B]
    assert keys(outbox, route="/a") == [A]
    assert keys(outbox, release="1.0") == [C, B, A]
    assert keys(outbox, release="2.0") == []
    assert keys(outbox, words="满了 DISK valueerror") == [A]
    assert keys(outbox, words="cart") == [B]
    assert keys(outbox, words="disk keyerror") == []
    clock.advance(60)
    assert keys(outbox, state="open") == [C, A]


def test_the_words_of_an_exception_and_of_its_log_message_are_found(outbox: Outbox) -> None:
    locked = "Traceback (most recent call last):\nsqlite3.OperationalError: database is locked\n"
    outbox.record([an_event(A, title="sqlite3.OperationalError", message="Exception on request", traceback=locked)])
    outbox.record([an_event(B, title="ExceptionGroup", traceback="  | ExceptionGroup: two of them\n  +---- 1 ----")])
    outbox.record([an_event(C, title="Could not send %s", message="Could not send 12", traceback="")])

    assert keys(outbox, words="locked") == keys(outbox, words="operationalerror request") == [A]
    assert keys(outbox, words="two them") == [B]
    assert keys(outbox, words="send 12") == [C]
    [found] = outbox.page(Query(words="locked")).found
    assert found.group.message == "database is locked (Exception on request)"


def test_a_word_with_letters_beyond_ascii_is_found_as_it_is_written(outbox: Outbox) -> None:
    outbox.record([an_event(A, message="Über die Größe ÄRGER"), an_event(B)])

    assert keys(outbox, words="Über ÄRGER") == keys(outbox, words="DIE größe") == [A]


@pytest.mark.parametrize("text", ["'", "\x00", "\ud800", "a" * 100_000])
def test_no_route_or_release_breaks_a_search(outbox: Outbox, text: str) -> None:
    outbox.record([an_event(A, route=text)])

    assert keys(outbox, route=text) == [A]
    assert keys(outbox, release=text) == []


@pytest.mark.parametrize("words", ["'", "%", "_", '"', "\\", "\x00", "\ud800", "a" * 100_000, " ".join("x" * 100)])
def test_no_text_breaks_a_search(outbox: Outbox, words: str) -> None:
    outbox.record([an_event(A)])

    assert keys(outbox, words=words) in ([], [A])


@pytest.mark.parametrize("order", ["last", "count"])
def test_pages_go_on_where_the_last_one_ended(outbox: Outbox, clock: FakeClock, order: str) -> None:
    for number in range(7):
        outbox.record([an_event(f"{number:016}")] * (1 + number % 3))
        clock.advance(number % 2)
    seen, after = [], None
    while True:
        page = outbox.page(Query(order=order, after=after, limit=2))  # type: ignore[arg-type]
        seen += [found.group for found in page.found]
        if not page.more:
            break
        after = page.found[-1].key

    assert len({group.id for group in seen}) == len(seen) == 7
    found = [group.count if order == "count" else group.last_seen for group in seen]
    assert found == sorted(found, reverse=True)


def test_a_group_comes_with_its_day_and_the_fate_of_its_mail(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A)] * 2)
    clock.advance(25 * 3_600)
    outbox.record([an_event(A)] * 3)
    clock.advance(3_600)
    outbox.record([an_event(A)])
    outbox.record([an_event(B)])
    report_all(outbox)

    [first, second] = outbox.page(Query()).found

    assert (first.group.fingerprint, second.group.fingerprint) == (B, A)
    assert second.hours[-3:] == (0, 3, 1)
    assert sum(second.hours) == 4
    assert second.fate is not None
    assert second.fate.state == "sent"


def test_a_page_ends_at_its_limit(outbox: Outbox) -> None:
    outbox.record([an_event(f"{number:016}") for number in range(500)])

    page = outbox.page(Query(limit=50))

    assert (len(page.found), page.more) == (50, True)
    assert not outbox.page(Query(limit=500)).more


def test_a_word_may_be_the_id_of_any_error_of_the_group(outbox: Outbox) -> None:
    outbox.record([an_event(A, error_id=f"k7c2mfq9w{number:03}") for number in range(50)])
    outbox.record([an_event(B)])

    assert keys(outbox, words="K7C2MFQ9W003") == [A]
    assert keys(outbox, words="k7c2mfq9w003 valueerror") == [A]
    assert keys(outbox, words="k7c2mfq9w003 keyerror") == []
    assert keys(outbox, words="k7c2mfq9w") == []


def test_the_total_counts_the_groups_of_all_pages(outbox: Outbox) -> None:
    outbox.record([an_event(f"{number:016}", route=f"/{number % 2}") for number in range(9)])
    outbox.resolve(1)
    [last] = outbox.page(Query(limit=1)).found

    assert outbox.total(Query(limit=2)) == 9
    assert outbox.total(Query(after=last.key)) == 9
    assert outbox.total(Query(state="open", route="/0")) == 4
    assert outbox.total(Query(words="nothing")) == 0


def test_a_group_comes_with_as_many_samples_as_were_asked_for(outbox: Outbox) -> None:
    outbox.record([an_event(A, error_id=f"{number:012}", created=float(number)) for number in range(3)])

    def ids(samples: int) -> list[str]:
        [found] = outbox.page(Query(samples=samples)).found
        return [sample.error_id for sample in found.group.samples]

    assert (ids(0), ids(1), ids(9)) == ([], ["000000000002"], ["000000000002", "000000000001", "000000000000"])
