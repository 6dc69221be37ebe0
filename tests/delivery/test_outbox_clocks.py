"""Nothing the outbox compares depends on the wall clock: it may jump either way, by years, also between two boots."""

from __future__ import annotations

import itertools
import json
import os
import socket
import sqlite3
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.store.database import APPLICATION_ID
from quartblog.delivery.store.mails import Result
from quartblog.delivery.store.schema import MIGRATIONS
from tests.support.clocks import START, FakeClock
from tests.support.failures import a_digest, a_message, an_event, report_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

A, B = "00000000000000aa", "00000000000000bb"
HOUR, DAY, YEAR = 3_600.0, 86_400.0, 366 * 86_400.0
JUMPS = pytest.mark.parametrize("jump", [-20 * YEAR, -DAY, -HOUR, HOUR, DAY, 20 * YEAR])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def opened(path: Path, clock: FakeClock) -> Iterator[Callable[[], Outbox]]:
    """Open the outbox, in a new process as it were."""
    boxes: list[Outbox] = []

    def again() -> Outbox:
        boxes.append(Outbox(OutboxOptions(path, max_age=30 * DAY), clock=clock))
        return boxes[-1]

    yield again
    for box in boxes:
        box.close()


def moved(clock: FakeClock, jump: float, *, reboot: bool) -> None:
    """Let the wall clock jump, within a boot or between two."""
    if reboot:
        clock.reboot()
    clock.jump(jump)


@JUMPS
@pytest.mark.parametrize("reboot", [False, True])
def test_a_mail_is_tried_when_its_pause_is_over(
    opened: Callable[[], Outbox], clock: FakeClock, jump: float, *, reboot: bool
) -> None:
    before = opened()
    number = a_digest(before)
    assert before.sending.failed(number, Result("451", wait=300))
    before.heartbeats.beat("host:1", leader=True, figures={})
    moved(clock, jump, reboot=reboot)
    outbox = opened()

    [waiting] = outbox.mails("waiting")
    assert waiting.tried_for <= DAY
    if not (reboot and jump > 0):  # Else the machine may have been off for longer than the pause.
        assert not outbox.sending.has_due_mail()
        assert waiting.next_try == pytest.approx(clock.wall() + 300, abs=1)
    clock.advance(300)
    assert outbox.sending.has_due_mail()


@JUMPS
@pytest.mark.parametrize("reboot", [False, True])
def test_the_cap_counts_the_digests_of_an_hour(
    opened: Callable[[], Outbox], clock: FakeClock, jump: float, *, reboot: bool
) -> None:
    before = opened()
    report_all(before)
    before.heartbeats.beat("host:1", leader=True, figures={})
    moved(clock, jump, reboot=reboot)
    outbox = opened()

    if not (reboot and jump > 0):
        assert outbox.sending.digests_within(HOUR) == 1
        assert outbox.sending.latest_digests(1) == [pytest.approx(0, abs=1.1)]
    clock.advance(HOUR)
    assert outbox.sending.digests_within(HOUR) == 0, "a digest of the future would count until then"


@JUMPS
@pytest.mark.parametrize("reboot", [False, True])
def test_a_window_ends_and_a_mute_ends(
    opened: Callable[[], Outbox], clock: FakeClock, jump: float, *, reboot: bool
) -> None:
    before = opened()
    before.record([an_event(B)] * 4)
    report_all(before)
    before.record([an_event(A), an_event(B)])
    assert before.mute(A, 900)
    before.heartbeats.beat("host:1", leader=True, figures={})
    moved(clock, jump, reboot=reboot)
    outbox = opened()

    if not (reboot and jump > 0):
        assert not outbox.sending.digest_is_due(900, 0)
        muted = outbox.group(A)
        assert muted is not None
        assert muted.muted_until == pytest.approx(clock.wall() + 900, abs=1)
    clock.advance(900)
    assert outbox.sending.digest_is_due(900, 0)
    assert [group.fingerprint for group in outbox.unreported()] == [B, A]


@JUMPS
@pytest.mark.parametrize("reboot", [False, True])
def test_nothing_ages_by_a_jump_and_everything_ages_in_the_end(
    opened: Callable[[], Outbox], clock: FakeClock, jump: float, *, reboot: bool
) -> None:
    before = opened()
    before.record([an_event(A, created=clock.wall())])
    before.sending.dead(a_digest(before), Result("554"))
    before.heartbeats.beat("host:1", leader=True, figures={})
    moved(clock, jump, reboot=reboot)
    outbox = opened()
    outbox.record([an_event(B, created=clock.wall())])
    outbox.housekeeping()

    assert {group.fingerprint: len(group.samples) for group in outbox.groups()} == {A: 1, B: 1}
    assert len(outbox.mails("dead")) == 1
    assert (found := outbox.details(A)) is not None
    assert sum(found.hours.values()) == 1
    clock.advance(30 * DAY + 1)
    outbox.housekeeping()
    assert (outbox.groups(), outbox.mails()) == ([], [])


@JUMPS
def test_the_newest_samples_stay_whatever_time_their_records_have(
    opened: Callable[[], Outbox], clock: FakeClock, jump: float
) -> None:
    outbox = opened()
    for number in range(10):
        outbox.record([an_event(A, error_id=f"before{number}", created=clock.wall())])
        clock.advance(1)
    clock.jump(jump)

    for number in range(4):
        outbox.record([an_event(A, error_id=f"after{number}", created=clock.wall())])
        clock.advance(1)

    group = outbox.group(A)
    assert group is not None
    assert [sample.error_id for sample in group.samples][:4] == ["after3", "after2", "after1", "after0"]
    assert len(group.samples) == 10


@JUMPS
def test_a_worker_is_seen_as_long_as_it_beats(opened: Callable[[], Outbox], clock: FakeClock, jump: float) -> None:
    outbox = opened()
    outbox.heartbeats.beat("host:1", leader=True, figures={})
    clock.jump(jump)
    clock.advance(4)

    [worker] = outbox.workers(10)
    assert worker.silent == 4
    assert worker.at == pytest.approx(clock.wall() - 4, abs=0.1)
    clock.advance(7)
    assert outbox.workers(10) == []


def test_processes_of_one_boot_share_their_time(opened: Callable[[], Outbox], clock: FakeClock) -> None:
    first = opened()
    first.open()
    clock.jump(YEAR)
    second = opened()
    second.open()

    assert first.now() == second.now() == START


def test_a_machine_that_was_off_goes_on_with_the_wall_clocks_time(
    opened: Callable[[], Outbox], clock: FakeClock
) -> None:
    opened().heartbeats.beat("host:1", leader=True, figures={})
    clock.reboot(off=8 * HOUR)
    outbox = opened()
    outbox.open()

    assert outbox.now() == outbox.wall() == START + 8 * HOUR


def test_what_memory_took_before_the_file_was_there_has_the_files_time_afterwards(
    opened: Callable[[], Outbox], path: Path, clock: FakeClock
) -> None:
    report_all(opened())
    a_digest(opened(), "earlier")
    clock.jump(YEAR)
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    outbox = opened()
    assert outbox.sending.failed(a_digest(outbox, "in memory"), Result("451", wait=300))
    path.rmdir()
    aside.rename(path)
    clock.advance(3)

    assert {mail.subject for mail in outbox.mails("waiting")} == {"earlier", "in memory"}
    assert outbox.healthy
    assert outbox.sending.digests_within(10) == 1
    [later] = [mail for mail in outbox.mails() if mail.subject == "in memory"]
    assert later.next_try == pytest.approx(clock.wall() + 297, abs=0.1)


def test_a_mail_that_was_posted_without_a_heartbeat_for_days_is_due_after_a_reboot(
    opened: Callable[[], Outbox], clock: FakeClock
) -> None:
    before = opened()
    for _ in range(5):
        before.post(a_message(), ["ada@example.org"])
        clock.advance(DAY)
    later = before.post(a_message(subject="later"), ["ada@example.org"])
    assert before.sending.failed(later, Result("451", wait=300))
    before.record([an_event(A)])
    assert before.mute(A, 300)
    clock.reboot()
    outbox = opened()

    assert outbox.sending.has_due_mail()
    assert {mail.subject: mail.next_try - clock.wall() for mail in outbox.mails(limit=1)} == {
        "later": pytest.approx(300, abs=0.1)
    }
    assert outbox.unreported() == []
    clock.advance(300)
    assert [group.fingerprint for group in outbox.unreported()] == [A]


def test_a_mail_from_memory_is_due_after_a_reboot(opened: Callable[[], Outbox], path: Path, clock: FakeClock) -> None:
    before = opened()
    before.open()
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    clock.advance(3 * DAY)
    before.post(a_message(), ["ada@example.org"])
    assert before.in_memory
    path.rmdir()
    aside.rename(path)
    before.close()
    clock.reboot()

    assert opened().sending.has_due_mail()


@pytest.mark.parametrize("back", [2.0, HOUR, 10 * DAY])
def test_a_checkpoint_of_the_machine_that_is_restored_holds_nothing_back(
    opened: Callable[[], Outbox], clock: FakeClock, back: float
) -> None:
    used, idle = opened(), opened()
    idle.open()
    clock.advance(20 * DAY)
    later = used.post(a_message(), ["ada@example.org"])
    assert used.sending.failed(later, Result("451", wait=300))
    used.post(a_message(), ["ada@example.org"])
    used.record([an_event(A)])
    report_all(used)
    before, elapsed = used.now(), used.sending.elapsed()
    clock.restore(back)

    for outbox in (used, idle, opened()):
        assert outbox.sending.has_due_mail()
        assert outbox.now() == pytest.approx(before, abs=1)
        assert outbox.sending.digests_within(HOUR) == 1
    assert used.sending.elapsed() >= elapsed
    clock.advance(301)
    for outbox in (used, idle, opened()):
        assert {mail.next_try <= clock.wall() for mail in outbox.mails("waiting")} == {True}


def test_a_checkpoint_that_is_restored_holds_nothing_back_in_memory(clock: FakeClock, path: Path) -> None:
    path.mkdir()
    clock.advance(DAY)
    outbox = Outbox(OutboxOptions(path), clock=clock)
    outbox.post(a_message(), ["ada@example.org"])
    clock.restore(HOUR)
    assert outbox.sending.has_due_mail()
    path.rmdir()
    clock.advance(3)

    assert outbox.sending.has_due_mail()
    assert outbox.healthy
    outbox.close()


@pytest.mark.parametrize("rebooted", [False, True])
def test_processes_share_their_time_after_a_backup_was_restored_into_the_file_in_use(
    opened: Callable[[], Outbox], path: Path, clock: FakeClock, *, rebooted: bool
) -> None:
    opened().post(a_message(), ["ada@example.org"])
    with closing(sqlite3.connect(path)) as file, closing(sqlite3.connect(path.with_name("copy"))) as copy:
        file.backup(copy)
    if rebooted:
        clock.reboot()
    clock.jump(-DAY)
    clock.advance(10 * DAY)
    used = opened()
    used.post(a_message(), ["ada@example.org"])
    with closing(sqlite3.connect(path)) as file, closing(sqlite3.connect(path.with_name("copy"))) as copy:
        copy.backup(file)
    used.post(a_message(subject="newest"), ["ada@example.org"])
    fresh = opened()

    assert [mail.subject for mail in fresh.mails(limit=1)] == ["newest"]
    assert fresh.now() == used.now()
    assert all(mail.next_try <= fresh.wall() for mail in fresh.mails())


def test_after_the_machine_slept_mail_is_due_the_lead_is_free_and_no_worker_is_silent(
    opened: Callable[[], Outbox], clock: FakeClock
) -> None:
    outbox, neighbour = opened(), opened()
    names = [f"{socket.gethostname()}:{process}" for process in (os.getpid(), os.getppid())]
    for name in names:
        outbox.heartbeats.beat(name, leader=False, figures={})
    lease = outbox.sending.lead(names[0])
    assert outbox.sending.failed(a_digest(outbox, lease=lease), Result("451", wait=300))
    clock.advance(8 * HOUR)

    outbox.heartbeats.beat(names[0], leader=True, figures={})
    assert [worker.name for worker in outbox.workers() if worker.hangs] == []
    assert outbox.sending.has_due_mail()
    assert neighbour.sending.lead(names[1]) is not None
    for _ in range(11):
        clock.advance(1)
        outbox.heartbeats.beat(names[0], leader=True, figures={})
    assert [worker.name for worker in outbox.workers() if worker.hangs] == names[1:], "it did not wake up"


def test_a_reboot_leaves_neither_a_worker_nor_a_leader(opened: Callable[[], Outbox], clock: FakeClock) -> None:
    before = opened()
    name = f"{socket.gethostname()}:{os.getpid()}"
    before.heartbeats.beat(name, leader=True, figures={})
    before.sending.lead(name)
    clock.reboot()
    outbox = opened()

    assert outbox.workers() == []
    assert outbox.leader() is None
    lease = outbox.sending.lead("host:2")
    assert lease is not None
    assert lease.taken_from is None


FIRST = """
CREATE TABLE groups (id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
    level INTEGER NOT NULL, logger TEXT NOT NULL, place TEXT NOT NULL, function TEXT NOT NULL, route TEXT,
    count INTEGER NOT NULL, reported INTEGER NOT NULL DEFAULT 0, first_seen REAL NOT NULL, last_seen REAL NOT NULL,
    last_reported REAL, resolved INTEGER NOT NULL DEFAULT 0, reopened INTEGER NOT NULL DEFAULT 0, resolved_at REAL);
CREATE INDEX groups_by_time ON groups (last_seen);
CREATE INDEX groups_unreported ON groups (last_seen) WHERE count > reported AND NOT resolved;
CREATE TABLE samples (id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    error_id TEXT NOT NULL, created REAL NOT NULL, data TEXT NOT NULL);
CREATE INDEX samples_by_group ON samples (group_id);
CREATE INDEX samples_by_error_id ON samples (error_id);
CREATE TABLE mails (id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL, kind TEXT NOT NULL,
    subject TEXT NOT NULL, data BLOB NOT NULL, recipients TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL, since REAL NOT NULL, next_try REAL NOT NULL, last_error TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'waiting', finished REAL);
CREATE INDEX mails_by_state ON mails (state, next_try);
CREATE TABLE digests (left REAL NOT NULL);
CREATE TABLE workers (name TEXT PRIMARY KEY, leader INTEGER NOT NULL, at REAL NOT NULL, figures TEXT NOT NULL);
PRAGMA application_id = 1363300184;
PRAGMA user_version = 1;
"""
SECOND = """
CREATE TABLE tracebacks (digest INTEGER PRIMARY KEY, text BLOB NOT NULL);
ALTER TABLE samples ADD COLUMN traceback INTEGER;
CREATE INDEX samples_by_traceback ON samples (traceback);
CREATE TRIGGER tracebacks_without_sample AFTER DELETE ON samples
    WHEN NOT EXISTS (SELECT 1 FROM samples WHERE traceback = OLD.traceback)
    BEGIN DELETE FROM tracebacks WHERE digest = OLD.traceback; END;
PRAGMA user_version = 2;
"""
GROUP = """INSERT INTO groups (fingerprint, title, level, logger, place, function, count, reported, first_seen,
    last_seen, last_reported) VALUES (?, 'ValueError', 40, 'app', 'a.py:1', 'show', 5, 4, ?, ?, ?)"""
MAIL = """INSERT INTO mails (message_id, kind, subject, data, recipients, created, since, next_try, state, finished)
    VALUES ('<1@x>', 'digest', ?, x'00', '["ada@example.org"]', ?, ?, ?, ?, ?)"""


def written(path: Path, version: int, at: float) -> None:
    """A file as an earlier version left it, with times of the wall clock."""
    with closing(sqlite3.connect(path)) as file, file:
        file.executescript(FIRST + (SECOND if version == 2 else ""))
        file.execute(GROUP, (A, at, at, at))
        data = json.dumps({**asdict(an_event(A)), "traceback": "as it was"})
        file.execute("INSERT INTO samples (group_id, error_id, created, data) VALUES (1, 'one', ?, ?)", (at, data))
        file.execute(MAIL, ("waiting", at, at, at + 60, "waiting", None))
        file.execute(MAIL, ("dead", at, at, at, "dead", at))
        file.execute("INSERT INTO digests VALUES (?)", (at,))
        file.execute("INSERT INTO workers VALUES ('host:1', 1, ?, '{}')", (at,))


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_earlier_version_goes_on_as_it_was(
    opened: Callable[[], Outbox], path: Path, clock: FakeClock, version: int
) -> None:
    written(path, version, START - 60)
    outbox = opened()

    [group] = outbox.groups(samples=5)
    assert (group.count, group.reported, group.last_seen, group.last_reported) == (5, 4, START - 60, START - 60)
    assert [sample.traceback for sample in group.samples] == ["as it was"]
    assert outbox.sending.digests_within(61) == 1
    assert [worker.silent for worker in outbox.workers()] == [60]
    assert outbox.sending.has_due_mail()
    assert {mail.subject: mail.created for mail in outbox.mails()} == {"waiting": START - 60, "dead": START - 60}
    assert outbox.healthy


@pytest.mark.parametrize("version", [1, 2])
def test_times_of_the_future_in_an_earlier_file_hold_nothing_back_and_live_no_longer(
    opened: Callable[[], Outbox], path: Path, clock: FakeClock, version: int
) -> None:
    written(path, version, START + 20 * YEAR)
    outbox = opened()

    assert outbox.sending.has_due_mail()
    assert outbox.sending.digests_within(HOUR) == 1
    assert not outbox.sending.digest_is_due(900, 0)
    clock.advance(HOUR)
    assert outbox.sending.digests_within(HOUR) == 0
    assert outbox.sending.digest_is_due(900, 0)
    clock.advance(30 * DAY)
    outbox.housekeeping()
    assert (outbox.groups(), outbox.mails("dead"), outbox.workers()) == ([], [], [])
    assert len(outbox.mails("waiting")) == 1


def test_errors_of_a_digest_that_an_earlier_version_began_are_reported_when_it_leaves(
    opened: Callable[[], Outbox], path: Path
) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in itertools.chain(*MIGRATIONS[:4]):
            file.execute(statement, {"now": START} if ":now" in statement else {})
        file.execute("PRAGMA user_version = 4")
        file.execute(GROUP, (A, START, START, START))
        file.execute(MAIL, ("waits", START, START, START, "waiting", None))
        file.execute("INSERT INTO mail_groups VALUES (1, ?, 3)", (A,))
        file.execute(MAIL, ("to a reader", START, START, START, "waiting", None))
        file.execute("UPDATE mails SET kind = 'route' WHERE id = 2")
        file.execute("INSERT INTO mail_groups VALUES (2, ?, 2)", (A,))
    outbox = opened()

    [group] = outbox.unreported()
    assert (group.count, group.reported) == (5, 1)
    found = {mail.kind: outbox.sending.content(mail.id) for mail in outbox.mails("waiting")}
    assert {kind: [share.new for share in content.shares] for kind, content in found.items() if content} == {
        "digest": [4],
        "copy": [2],
    }


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    opened: Callable[[], Outbox], path: Path, clock: FakeClock
) -> None:
    written(path, 2, START)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE losses (of_somebody_else)")
    outbox = opened()
    outbox.record([an_event(B)])

    assert not outbox.healthy
    with closing(sqlite3.connect(path)) as file, file:
        assert file.execute("PRAGMA user_version").fetchone() == (2,)
        assert [row[1] for row in file.execute("PRAGMA table_info(groups)")][-1] == "resolved_at"
        file.execute("DROP TABLE losses")
    clock.advance(3)
    assert {group.fingerprint for group in outbox.groups()} == {A, B}
    assert outbox.healthy


def test_time_goes_on_while_a_file_of_an_earlier_boot_refuses_the_new_one(path: Path, clock: FakeClock) -> None:
    with closing(Outbox(OutboxOptions(path), clock=clock)) as before:
        before.heartbeats.beat("host:1", leader=False, figures={})
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TRIGGER no BEFORE INSERT ON steady BEGIN SELECT RAISE(ABORT, 'no'); END")
        file.commit()
    clock.reboot(0.0)
    clock.jump(-HOUR)

    with closing(Outbox(OutboxOptions(path), clock=clock)) as outbox:
        times = []
        for _ in range(9):
            clock.advance(1.0)
            outbox.groups()
            times.append(outbox.now())

    assert [later - earlier for earlier, later in itertools.pairwise(times)] == pytest.approx([1.0] * 8)
