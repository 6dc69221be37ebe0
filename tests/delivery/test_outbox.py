"""Groups of equal failures and heartbeats: what is counted, kept and shown."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import AsyncOutbox, Group, Outbox, OutboxOptions, open_outbox
from quartblog.delivery.grouping.event import Batch
from quartblog.delivery.store.mails import Result
from tests.support.clocks import START, FakeClock
from tests.support.failures import a_digest, a_message, an_event, report_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B, C = "00000000000000aa", "00000000000000bb", "00000000000000cc"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(tmp_path: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(tmp_path / "outbox.sqlite3"), clock=clock)
    yield outbox
    outbox.close()


@pytest.fixture
def neighbour(tmp_path: Path, clock: FakeClock) -> Iterator[Outbox]:
    """Another user of the same file."""
    outbox = Outbox(OutboxOptions(tmp_path / "outbox.sqlite3"), clock=clock)
    yield outbox
    outbox.close()


def only(groups: list[Group]) -> Group:
    [group] = groups
    return group


def failing(number: int, error: BaseException) -> logging.LogRecord:
    record = logging.LogRecord("app", 40, "/srv/a.py", 1, "failed", None, (type(error), error, error.__traceback__))
    record.created = START + number
    vars(record)["error_id"] = f"id{number}"
    return record


def test_numbers_of_groups_have_no_gaps_after_repeated_errors(outbox: Outbox) -> None:
    for key in (A, A, A, B):
        outbox.record([an_event(key)])

    assert {group.fingerprint: group.id for group in outbox.groups()} == {A: 1, B: 2}


def test_equal_failures_are_one_group_with_their_count(outbox: Outbox) -> None:
    outbox.record([an_event(A, created=START + 5), an_event(B), an_event(A, created=START + 1)])
    outbox.record([an_event(A, created=START + 9, level=50), an_event(A, created=START + 7, level=40)])

    groups = {group.fingerprint: group for group in outbox.groups()}

    assert {key: group.count for key, group in groups.items()} == {A: 4, B: 1}
    assert (groups[A].first_seen, groups[A].last_seen, groups[A].level) == (START + 1, START + 9, 50)
    assert (groups[A].title, groups[A].logger, groups[A].reported) == ("ValueError", "blog.profile", 0)
    assert (groups[A].last_reported, groups[A].resolved, groups[A].reopened) == (None, False, False)


def test_the_group_seen_last_is_listed_first(outbox: Outbox) -> None:
    outbox.record([an_event(A, created=START + 2), an_event(B, created=START + 3), an_event(C, created=START + 1)])

    assert [group.fingerprint for group in outbox.groups()] == [B, A, C]
    assert [group.fingerprint for group in outbox.groups(limit=1)] == [B]


def test_the_latest_events_are_kept_whole_and_newest_first(outbox: Outbox) -> None:
    events = [an_event(A, error_id=f"id{number}", created=START + number) for number in range(25)]
    for number in range(0, 25, 5):
        outbox.record(events[number : number + 5])

    group = outbox.group(A)

    assert group is not None
    assert group.count == 25
    assert list(group.samples) == events[:-11:-1]
    assert len(only(outbox.groups()).samples) == 1
    assert only(outbox.groups(samples=0)).samples == ()


def test_an_event_that_comes_late_does_not_push_out_a_newer_one(outbox: Outbox) -> None:
    outbox.record([an_event(A, error_id="new", created=START + 20 + number) for number in range(10)])
    outbox.record([an_event(A, error_id="late", created=START)])

    group = outbox.group(A)

    assert group is not None
    assert {sample.error_id for sample in group.samples} == {"new"}


def test_a_group_is_found_by_its_id_a_samples_id_or_its_fingerprint(outbox: Outbox) -> None:
    outbox.record([an_event(A, error_id="abcdefghjkmn"), an_event(B)])
    found = outbox.group("abcdefghjkmn")

    assert found is not None
    assert found.fingerprint == A
    for key in (found.id, str(found.id), A):
        assert outbox.group(key) == found
    for key in (99, "99", "nobody", "", "\ud800", 1 << 70, str(1 << 70), "1" * 5000):
        assert outbox.group(key) is None


def test_texts_a_stranger_chose_are_stored_on_one_line_and_come_back_whole_in_the_sample(outbox: Outbox) -> None:
    hostile = "a\ud800\x00\nb"
    outbox.record([an_event(A, title=hostile, logger=hostile, place=hostile, function=hostile, route=hostile)])

    group = only(outbox.groups())

    assert {group.title, group.logger, group.place, group.function, group.route} == {r"a\ud800\x00\nb"}
    assert group.samples[0].title == hostile


def test_one_event_that_cannot_be_stored_does_not_take_the_others_with_it(
    outbox: Outbox, capfd: pytest.CaptureFixture[str]
) -> None:
    outbox.record([an_event(A), an_event(B, level=1 << 80), an_event("broken", created=float("nan")), an_event(C)])

    assert {group.fingerprint for group in outbox.groups()} == {A, C}
    assert capfd.readouterr().err.count("1 error could not be stored") == 2


def test_an_outbox_that_breaks_does_not_break_its_caller(outbox: Outbox, capfd: pytest.CaptureFixture[str]) -> None:
    outbox.record([an_event(A), 7])  # type: ignore[list-item]

    assert "2 errors could not be stored" in capfd.readouterr().err


def test_unreported_groups_are_listed(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A), an_event(A)])
    clock.advance(60)
    report_all(outbox)
    outbox.record([an_event(B)])

    assert [group.fingerprint for group in outbox.unreported()] == [B]
    outbox.record([an_event(A)])
    again = next(group for group in outbox.unreported() if group.fingerprint == A)
    assert (again.count, again.reported, again.last_reported) == (3, 2, START + 60)
    assert len(again.samples) == 3
    assert {group.samples for group in outbox.unreported(samples=0)} == {()}


def test_a_resolved_group_is_left_alone_until_it_happens_again(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A), an_event(B)])
    group = outbox.group(A)
    assert group is not None
    clock.advance(60)

    assert outbox.resolve(group.id)

    assert [group.fingerprint for group in outbox.groups()] == [B]
    assert [group.fingerprint for group in outbox.unreported()] == [B]
    settled = only(outbox.groups(resolved=True))
    assert (settled.resolved, settled.reopened, settled.resolved_at) == (True, False, START + 60)
    assert len(outbox.groups(resolved=None)) == 2

    outbox.record([an_event(A)])

    again = next(group for group in outbox.unreported() if group.fingerprint == A)
    assert (again.resolved, again.reopened, again.resolved_at, again.count) == (False, True, START + 60, 2)
    report_all(outbox)
    reported = outbox.group(A)
    assert reported is not None
    assert not reported.reopened


def test_resolving_twice_or_a_missing_group_changes_nothing(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    assert outbox.resolve(A)
    clock.advance(60)

    assert outbox.resolve(A)
    assert only(outbox.groups(resolved=True)).resolved_at == START
    assert not outbox.resolve(99)
    assert not outbox.resolve("nobody")


def test_a_muted_group_counts_on_and_is_not_mailed_until_the_time_is_over(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record([an_event(A), an_event(B)])

    assert outbox.mute(A, 600)

    outbox.record([an_event(A)])
    assert [group.fingerprint for group in outbox.unreported()] == [B]
    assert {group.fingerprint: (group.count, group.muted_until) for group in outbox.groups()} == {
        A: (2, START + 600),
        B: (1, None),
    }
    clock.advance(600)
    assert [group.fingerprint for group in outbox.unreported()] == [A, B]
    assert not outbox.mute("nobody", 600)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_group_is_muted_for_a_time_that_ends(outbox: Outbox, seconds: float) -> None:
    outbox.record([an_event(A)])

    with pytest.raises(ValueError, match="finite number of seconds above 0"):
        outbox.mute(A, seconds)


def test_a_group_is_opened_again_on_request(outbox: Outbox) -> None:
    outbox.record([an_event(A), an_event(B)])
    outbox.resolve(A)
    outbox.mute(B, 600)

    assert outbox.reopen(A)
    assert outbox.reopen(B)

    assert [group.fingerprint for group in outbox.unreported()] == [A, B]
    assert {group.resolved or group.reopened or group.muted_until is not None for group in outbox.groups()} == {False}
    assert not outbox.reopen("nobody")


@pytest.mark.parametrize(
    ("reported", "count", "due"),
    [
        *((0, 1, True), (1, 1, False), (1, 2, True), (2, 3, False), (3, 4, True), (4, 7, False), (7, 8, True)),
        *((500, 511, False), (511, 512, True), (512, 1_023, False), (512, 1_024, True), (5, 1_000, True)),
    ],
)
def test_a_group_is_due_when_its_count_passes_a_power_of_two(
    outbox: Outbox, clock: FakeClock, *, reported: int, count: int, due: bool
) -> None:
    if reported:
        outbox.record([an_event(A)] * reported)
        report_all(outbox)
    outbox.record([an_event(A)] * (count - reported))
    clock.advance(899)

    assert outbox.sending.digest_is_due(900, 5) is due
    clock.advance(1)
    assert outbox.sending.digest_is_due(900, 5) is (count > reported)


def test_a_batch_counts_all_and_makes_events_of_the_last_alone(
    outbox: Outbox, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    from_record = an_event().from_record

    def counting(record: logging.LogRecord) -> object:
        nonlocal made
        made += 1
        return from_record(record)

    monkeypatch.setattr("quartblog.delivery.grouping.event.Event.from_record", counting)
    batch = Batch(samples=10)
    for number in [*range(50, 100), *range(50)]:
        batch.add(failing(number, failure))
    batch.add(failing(3, KeyError("other")))

    outbox.record(batch)

    assert len(batch) == 101
    assert made == 11
    groups = {group.title: group for group in outbox.groups(samples=10)}
    assert (groups["ValueError"].count, groups["KeyError"].count) == (100, 1)
    assert (groups["ValueError"].first_seen, groups["ValueError"].last_seen) == (START, START + 99)
    assert groups["ValueError"].samples[0].error_id == "id49"


def test_an_empty_batch_changes_nothing(outbox: Outbox) -> None:
    assert outbox.record([]) == outbox.record(Batch()) == 0

    assert outbox.groups() == []


def test_threads_lose_no_count(outbox: Outbox) -> None:
    def work() -> None:
        for _ in range(25):
            outbox.record([an_event(A), an_event(B)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert {group.count for group in outbox.groups()} == {200}


def test_workers_are_seen_by_their_latest_beat(outbox: Outbox, neighbour: Outbox, clock: FakeClock) -> None:
    outbox.heartbeats.beat("host:2", leader=False, figures={"queue": 5})
    neighbour.heartbeats.beat("host:1", leader=True, figures={"queue": 1, "levels": {"ERROR": 2}})
    clock.advance(1)
    outbox.heartbeats.beat("host:2", leader=False, figures={"queue": 7})

    one, two = neighbour.workers(5)

    assert (one.name, one.leader, one.at, one.figures) == ("host:1", True, START, {"queue": 1, "levels": {"ERROR": 2}})
    assert (two.name, two.leader, two.at, two.figures) == ("host:2", False, START + 1, {"queue": 7})
    assert [worker.name for worker in outbox.workers(0.5)] == ["host:2"]


def test_recorded_errors_are_there_after_a_restart(tmp_path: Path, outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    outbox.close()

    again = Outbox(OutboxOptions(path=tmp_path / "outbox.sqlite3"))

    assert only(again.groups()).count == 1
    again.close()


def test_a_closed_outbox_opens_again_when_it_is_used(outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    outbox.close()
    outbox.close()

    outbox.record([an_event(A)])

    assert only(outbox.groups()).count == 2
    assert outbox.healthy


def test_the_options_are_used(tmp_path: Path, clock: FakeClock) -> None:
    outbox = Outbox(OutboxOptions(tmp_path / "o.sqlite3", max_age=50.0, samples=2), clock=clock)
    outbox.record([an_event(A)] * 5)
    group = outbox.group(A)
    assert group is not None
    assert len(group.samples) == 2
    clock.advance(51)

    outbox.housekeeping()

    assert outbox.groups() == []
    outbox.close()


@pytest.mark.parametrize("wrong", [{"max_age": 0.0}, {"max_bytes": 1_000}, {"samples": 0}])
def test_options_with_which_nothing_could_be_kept_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is .*, not {next(iter(wrong.values()))}$"):
        OutboxOptions(**wrong)


def test_nobody_else_may_read_the_file(outbox: Outbox, tmp_path: Path) -> None:
    outbox.record([an_event(A)])

    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_without_a_path_all_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outbox = Outbox(None)
    outbox.record([an_event(A)])
    report_all(outbox)
    outbox.record([an_event(A)])

    assert only(outbox.unreported()).reported == 1
    assert [mail.state for mail in outbox.mails()] == ["sent"]
    assert outbox.healthy
    assert outbox.in_memory
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_the_totals_count_open_groups_and_waiting_and_dead_mail(outbox: Outbox, clock: FakeClock) -> None:
    assert outbox.totals() == (0, 0, 0, 0, 0, None, 0, 0, 0, None, 0, 0)
    outbox.record([*[an_event(A)] * 4, an_event(C)])
    assert outbox.resolve(C)
    outbox.sending.sent(a_digest(outbox, "sent"), Result("250"))
    outbox.record([an_event(A), *[an_event(B)] * 3])
    outbox.sending.failed(a_digest(outbox, "later"), Result("away", wait=30))
    a_digest(outbox, "now")
    outbox.sending.dead(a_digest(outbox, "dead"), Result("550"))

    totals = outbox.totals()

    assert (totals.open_groups, totals.errors, totals.to_mail) == (2, 8, 4)
    assert (totals.waiting, totals.dead, totals.next_try) == (2, 1, clock.wall())
    assert (totals.resolved_groups, totals.sent) == (1, 1)


async def test_an_event_loop_uses_the_same_methods(outbox: Outbox) -> None:
    shared = AsyncOutbox(outbox)
    outbox.record([an_event(A, error_id="abcdefghjkmn"), an_event(B)])
    outbox.heartbeats.beat("host:1", leader=True, figures={})
    outbox.sending.lead("host:1")
    number = await shared.post(a_message(), ["ada@example.org"])

    assert [group.fingerprint for group in await shared.groups()] == [B, A]
    assert await shared.group("abcdefghjkmn") == outbox.group(A)
    assert await shared.resolve(A)
    assert await shared.reopen(A)
    assert await shared.mute(A, 60)
    assert [mail.id for mail in await shared.mails("waiting")] == [number]
    assert await shared.retry(number) == 1
    assert await shared.purge(dead=True, sent=True) == 0
    assert (await shared.purge(number), await shared.purge(number)) == (1, 0)
    assert [worker.name for worker in await shared.workers()] == ["host:1"]
    assert await shared.leader() == ("host:1", 0)
    assert await shared.totals() == outbox.totals()
    assert shared.healthy
    with pytest.raises(ValueError, match="finite number of seconds above 0"):
        await shared.mute(A, 0)


def test_a_tool_opens_the_outbox_of_a_running_program(outbox: Outbox, tmp_path: Path) -> None:
    outbox.record([an_event(A)])

    with closing(open_outbox(tmp_path / "outbox.sqlite3")) as tool:
        assert tool.resolve(A)

    assert outbox.groups() == []


def test_a_tool_that_cannot_open_it_gets_an_error(tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite3").mkdir()

    with pytest.raises(OSError, match="unable to open database file"):
        open_outbox(tmp_path / "outbox.sqlite3")


def test_a_tool_that_finds_a_damaged_file_logs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "outbox.sqlite3").write_bytes(b"garbage" * 999)

    open_outbox(tmp_path / "outbox.sqlite3").close()

    assert "was damaged: it was renamed to" in caplog.text
