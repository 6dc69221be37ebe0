"""The file fails in every way a disk knows: the outbox goes on in memory, says so once, and comes back whole."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.options import LEAST_BYTES
from quartblog.delivery.store.fallback import RETRY_SECONDS
from quartblog.delivery.store.mails import Result
from quartblog.delivery.store.retention import MEMORY_BYTES
from tests.support import programs
from tests.support.clocks import START, FakeClock
from tests.support.failures import a_digest, a_message, an_event, long_text, report_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

A, B = "00000000000000aa", "00000000000000bb"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "outbox.sqlite3"


@pytest.fixture
def outbox(path: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(path), clock=clock)
    yield outbox
    outbox.close()


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The messages that the operator got since the last call."""

    def messages() -> list[str]:
        texts = [record.getMessage() for record in caplog.records if record.name == "quartblog.delivery.outbox"]
        caplog.clear()
        return texts

    return messages


class Disk:
    """The disk under one outbox, which is taken away while a program uses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._elsewhere = folder.with_name("elsewhere")

    def leave(self) -> None:
        self._folder.rename(self._elsewhere)
        self._folder.touch()

    def come_back(self) -> None:
        self._folder.unlink()
        self._elsewhere.rename(self._folder)


@pytest.fixture
def disk(path: Path) -> Disk:
    return Disk(path.parent)


def big(key: str = A, **changes: Any) -> Any:
    """An event that needs new pages."""
    return an_event(key, traceback=long_text(40_000), **changes)


def counts(outbox: Outbox) -> dict[str, int]:
    return {group.fingerprint: group.count for group in outbox.groups(resolved=None)}


def aside(path: Path) -> list[Path]:
    return sorted(found for found in path.parent.glob("*.corrupt-*") if not found.name.endswith(("-wal", "-shm")))


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000, b"\x00" * 600])
def test_a_file_that_is_no_database_is_moved_aside_and_a_fresh_one_begun(
    outbox: Outbox, path: Path, content: bytes, messages: Callable[[], list[str]]
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    outbox.record([an_event(A)])

    assert counts(outbox) == {A: 1}
    assert outbox.healthy
    [old] = aside(path)
    assert old.read_bytes() == content
    assert messages() == [f"{path} was damaged: it was renamed to {old}, and a new outbox was created"]


def test_a_truncated_file_is_moved_aside(outbox: Outbox, path: Path, messages: Callable[[], list[str]]) -> None:
    outbox.record([big(error_id=f"id{number}") for number in range(10)])
    outbox.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    outbox.record([an_event(B)])

    assert counts(outbox) == {B: 1}
    assert len(aside(path)) == len(messages()) == 1


def test_damage_in_the_middle_of_a_file_in_use_is_found_when_it_matters(
    outbox: Outbox, path: Path, messages: Callable[[], list[str]]
) -> None:
    outbox.record([big(f"{number:016x}") for number in range(50)])
    outbox.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 8192))

    outbox.record([an_event(A)])
    outbox.post(a_message(), ["ada@example.org"])

    assert counts(outbox) == {A: 1}
    assert len(outbox.mails()) == 1
    assert outbox.healthy
    assert len(aside(path)) == len(messages()) == 1


def test_damage_that_is_met_on_the_way_back_from_memory_does_not_keep_the_outbox_there(
    outbox: Outbox, path: Path, disk: Disk, clock: FakeClock
) -> None:
    outbox.record([big(f"{number:016x}") for number in range(50)])
    disk.leave()
    outbox.record([big(A)])
    disk.come_back()
    for log in path.parent.glob("*-*"):
        log.unlink()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    clock.advance(RETRY_SECONDS)

    assert counts(outbox) == {A: 1}
    assert outbox.healthy
    assert len(aside(path)) == 1


def test_tracebacks_come_back_from_memory_as_they_were(outbox: Outbox, disk: Disk, clock: FakeClock) -> None:
    shared = long_text(40_000)
    texts = {shared, f"{long_text(40_000)}, and half a pair: \ud800", ""}
    outbox.record([an_event(A, traceback=shared)])
    disk.leave()
    outbox.record([an_event(A, traceback=text, created=START + 1) for text in texts])
    assert outbox.in_memory
    disk.come_back()
    clock.advance(RETRY_SECONDS)

    [group] = outbox.groups(samples=10)

    assert outbox.healthy
    assert {sample.traceback for sample in group.samples} == texts
    assert len(group.samples) == 4


def test_a_file_is_moved_aside_once_however_many_notice(path: Path, clock: FakeClock) -> None:
    users = [Outbox(OutboxOptions(path), clock=clock) for _ in range(3)]
    for user in users:
        user.record([an_event(A)])
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    path.unlink()
    path.write_bytes(b"garbage" * 1000)

    for user in users:
        user.record([an_event(B)])

    for user in users:
        assert counts(user) == {B: 3}
        user.close()
    assert len(aside(path)) == 1


def test_two_files_moved_aside_in_one_second_are_both_kept(outbox: Outbox, path: Path) -> None:
    path.parent.mkdir()
    for content in (b"first" * 100, b"second" * 100):
        path.write_bytes(content)
        outbox.record([an_event(A)])
        outbox.close()

    assert {old.read_bytes()[:5] for old in aside(path)} == {b"first", b"secon"}


def test_a_file_somebody_removed_is_made_again(outbox: Outbox, path: Path) -> None:
    outbox.record([an_event(A)])
    path.unlink()

    outbox.record([an_event(B)])

    assert counts(outbox) == {B: 1}
    reader = Outbox(OutboxOptions(path))
    assert counts(reader) == {B: 1}
    reader.close()


def test_another_programs_database_is_left_alone(outbox: Outbox, path: Path, messages: Callable[[], list[str]]) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE users (name)")
        other.execute("PRAGMA user_version = 1")
    other.close()
    before = path.read_bytes()

    outbox.record([an_event(A)])

    assert outbox.in_memory
    assert counts(outbox) == {A: 1}
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"
    assert "the database of another program" in "".join(messages())


def test_a_folder_gets_no_lock_file_beside_it(outbox: Outbox, path: Path) -> None:
    path.mkdir(parents=True)

    outbox.record([an_event(A)])

    assert outbox.in_memory
    assert list(path.parent.iterdir()) == [path]


@pytest.fixture
def backup(outbox: Outbox, path: Path) -> Path:
    """A copy of the outbox with one error, after which it got many more."""
    outbox.record([an_event(A)])
    copy = path.with_name("copy")
    with closing(sqlite3.connect(path)) as file, closing(sqlite3.connect(copy)) as target:
        file.backup(target)
    outbox.record([big(f"{number:016x}") for number in range(50)])
    return copy


def is_whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as file:
        return bool(file.execute("PRAGMA integrity_check").fetchone() == ("ok",))


@pytest.mark.parametrize("first", ["a user", "another user", "a new process"])
def test_a_backup_that_is_renamed_over_the_file_in_use_is_used_as_it_is(
    outbox: Outbox, path: Path, backup: Path, messages: Callable[[], list[str]], first: str
) -> None:
    other, third = Outbox(OutboxOptions(path)), Outbox(OutboxOptions(path))
    other.record([big(B)])
    backup.replace(path)

    users = {"a user": outbox, "another user": other, "a new process": third}
    for user in (users.pop(first), *users.values()):
        user.record([an_event(A)])

    for user in (outbox, other, third):
        assert counts(user) == {A: 4}
        assert user.healthy
        user.close()
    assert is_whole(path)
    assert messages() == []
    outbox.record([an_event(A)])
    assert counts(outbox) == {A: 5}


def test_a_backup_that_is_renamed_over_the_file_of_killed_processes_is_used_as_it_is(
    outbox: Outbox, path: Path, backup: Path
) -> None:
    log = path.with_name(f"{path.name}-wal")
    kept = log.with_name("kept")
    os.link(log, kept)
    outbox.close()
    kept.rename(log)
    backup.replace(path)

    assert counts(outbox) == {A: 1}
    outbox.record([an_event(B)])
    outbox.close()
    assert is_whole(path)


def test_a_file_that_is_away_for_a_while_keeps_what_its_log_has(outbox: Outbox, path: Path) -> None:
    outbox.record([an_event(A)])
    away = path.with_name("away")
    path.rename(away)
    path.mkdir()
    with closing(Outbox(OutboxOptions(path))) as other:
        other.groups()
        assert not other.healthy
        path.rmdir()
        away.rename(path)

    assert counts(outbox) == {A: 1}
    assert is_whole(path)


def test_a_folder_that_is_copied_with_the_log_of_killed_processes_loses_nothing(
    outbox: Outbox, path: Path, tmp_path: Path
) -> None:
    outbox.record([an_event(A)])
    shutil.copytree(path.parent, tmp_path / "restored")
    with closing(Outbox(OutboxOptions(tmp_path / "restored" / path.name))) as restored:
        assert counts(restored) == {A: 1}


def test_a_file_of_a_newer_version_is_left_alone_until_it_fits(
    outbox: Outbox, path: Path, clock: FakeClock, messages: Callable[[], list[str]]
) -> None:
    outbox.record([an_event(A)])
    newer = sqlite3.connect(path)
    [current] = newer.execute("PRAGMA user_version").fetchone()
    newer.execute("PRAGMA user_version = 99")
    newer.commit()

    outbox.record([an_event(A)])

    assert outbox.in_memory
    assert not outbox.healthy
    assert "version 99" in "".join(messages())
    assert newer.execute("SELECT count FROM groups").fetchone() == (1,)
    newer.execute(f"PRAGMA user_version = {current}")
    newer.commit()
    newer.close()
    clock.advance(RETRY_SECONDS)
    assert counts(outbox) == {A: 2}
    assert outbox.healthy


def a_file_for_the_folder(path: Path) -> Callable[[], object]:
    path.parent.touch()
    return path.parent.unlink


def a_folder_for_the_file(path: Path) -> Callable[[], object]:
    path.mkdir(parents=True)
    return path.rmdir


@pytest.mark.parametrize("put", [a_file_for_the_folder, a_folder_for_the_file])
def test_an_unwritable_folder_is_logged_once_and_used_once_it_is_writable(
    put: Callable[[Path], Callable[[], object]],
    outbox: Outbox,
    path: Path,
    messages: Callable[[], list[str]],
    clock: FakeClock,
    *,
    capfd: pytest.CaptureFixture[str],
) -> None:
    remove = put(path)

    for _ in range(5):
        outbox.record([an_event(A)])
        clock.advance(RETRY_SECONDS)

    assert outbox.in_memory
    assert counts(outbox) == {A: 5}
    [warning] = messages()
    assert warning.startswith(f"{path} cannot be used, errors and mails are kept in memory: ")
    assert capfd.readouterr().err.count("cannot be used") == 1
    remove()
    outbox.record([an_event(A)])
    assert outbox.in_memory  # It is not tried at every event.
    clock.advance(RETRY_SECONDS)
    outbox.record([an_event(A)])
    assert counts(outbox) == {A: 7}
    assert outbox.healthy
    assert messages() == [f"{path} is used again; errors and mails from memory are in it now"]


def test_each_reason_of_an_outage_is_logged_once(
    outbox: Outbox, path: Path, clock: FakeClock, messages: Callable[[], list[str]]
) -> None:
    for put in (a_file_for_the_folder, a_folder_for_the_file, a_file_for_the_folder):
        remove = put(path)
        outbox.record([an_event(A)])
        clock.advance(RETRY_SECONDS)
        outbox.record([an_event(A)])
        clock.advance(RETRY_SECONDS)
        remove()
        if path.parent.is_dir():
            path.parent.rmdir()

    first, second = messages()
    assert "File exists" in first
    assert "unable to open database file" in second
    outbox.record([an_event(A)])
    assert outbox.healthy
    outbox.close()
    shutil.rmtree(path.parent)
    messages()
    path.parent.touch()
    outbox.record([an_event(A)])
    assert messages() == [first]


def test_a_value_that_the_file_refuses_is_no_outage(outbox: Outbox) -> None:
    outbox.record([an_event(A)])

    assert outbox.record([an_event(B, level=2**64), an_event(A)]) == 1

    assert outbox.healthy
    assert counts(outbox) == {A: 2}


def test_a_full_disk_loses_no_count_and_no_mail(
    outbox: Outbox, path: Path, disk: Disk, clock: FakeClock, messages: Callable[[], list[str]]
) -> None:
    outbox.record([an_event(A, created=START + 1)])
    disk.leave()

    for number in range(10):
        outbox.record([big(A, created=START + number), big(B)])
        clock.advance(RETRY_SECONDS)
    posted = outbox.post(a_message(), ["ada@example.org"])

    assert posted < 0
    assert outbox.in_memory
    assert counts(outbox) == {A: 10, B: 10}
    assert len(messages()) == 1
    disk.come_back()
    clock.advance(RETRY_SECONDS)
    found = outbox.group(A)
    assert found is not None
    assert (found.count, found.first_seen, found.last_seen, len(found.samples)) == (11, START, START + 9, 10)
    assert outbox.healthy
    reader = Outbox(OutboxOptions(path))
    assert counts(reader) == {A: 11, B: 10}
    assert [mail.id > 0 for mail in reader.mails()] == [True]
    reader.close()
    assert len(messages()) == 1


def test_a_disk_that_refuses_a_write_is_a_disk_that_is_full(path: Path) -> None:
    """A real failing write(2), without a full disk: the process may not make a file any longer."""
    source = """
import logging, resource, sys
from dataclasses import replace
from pathlib import Path
from tests.support.failures import an_event, long_text
from tests.support.clocks import FakeClock
from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.options import LEAST_BYTES
logging.disable(logging.CRITICAL)
clock = FakeClock()
outbox = Outbox(OutboxOptions(Path(sys.argv[1])), clock=clock)
outbox.record([an_event()])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for _ in range(20):
    outbox.record([an_event(traceback=long_text(40_000))])
    clock.advance(1)
assert outbox.in_memory
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
clock.advance(10)
outbox.record([an_event()])
assert outbox.healthy
[group] = outbox.groups()
print(group.count)
outbox.close()
"""
    code, out, err = programs.ended(programs.start(source, path))

    assert (code, out) == (0, "22\n"), err
    assert err.count("cannot be used") == 1


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_jumps_does_not_end_the_tries(outbox: Outbox, path: Path, clock: FakeClock, jump: float) -> None:
    path.parent.touch()
    outbox.record([an_event(A)])
    path.parent.unlink()

    clock.jump(jump)
    clock.advance(RETRY_SECONDS)

    assert counts(outbox) == {A: 1}
    assert outbox.healthy


def test_a_mail_written_in_memory_waits_in_the_file_afterwards(outbox: Outbox, disk: Disk, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    disk.leave()
    outbox.record([an_event(B)])
    sent = a_digest(outbox, "sent")
    assert outbox.sending.sent(sent, Result("250"))
    waiting = a_digest(outbox, "waiting")
    disk.come_back()
    clock.advance(RETRY_SECONDS)

    assert {mail.subject: mail.state for mail in outbox.mails()} == {"sent": "sent", "waiting": "waiting"}
    assert outbox.sending.digests_within(60) == 1
    assert [group.fingerprint for group in outbox.unreported()] == [A]
    assert {sent < 0, waiting < 0} == {True}
    assert all(mail.id > 0 for mail in outbox.mails())


def test_digests_that_left_before_an_outage_count_against_the_cap_in_it(
    outbox: Outbox, disk: Disk, clock: FakeClock
) -> None:
    for _ in range(2):
        report_all(outbox)
        clock.advance(1)
    outbox.heartbeats.beat("host:1", leader=True, figures={})
    disk.leave()
    assert outbox.sending.digests_within(3_600) == 2
    report_all(outbox)
    assert outbox.sending.digests_within(3_600) == 3
    disk.come_back()
    clock.advance(RETRY_SECONDS)

    assert outbox.sending.digests_within(3_600) == 3
    assert outbox.healthy


def test_digests_that_left_in_an_outage_count_against_the_cap_after_it(
    outbox: Outbox, disk: Disk, clock: FakeClock
) -> None:
    report_all(outbox)
    outbox.heartbeats.beat("host:1", leader=True, figures={})
    disk.leave()
    for _ in range(2):
        clock.advance(1)
        report_all(outbox)
        outbox.heartbeats.beat("host:1", leader=True, figures={})
    assert outbox.in_memory
    disk.come_back()
    clock.advance(RETRY_SECONDS)

    assert outbox.sending.digests_within(3_600) == 3
    assert outbox.healthy


def test_a_change_of_a_row_that_is_elsewhere_changes_nothing(outbox: Outbox, disk: Disk, clock: FakeClock) -> None:
    on_disk = a_digest(outbox, "on disk")
    disk.leave()
    in_memory = a_digest(outbox, "in memory")
    assert not outbox.sending.sent(on_disk, Result("250"))
    assert not outbox.sending.failed(on_disk, Result("451", wait=0))
    assert not outbox.sending.dead(on_disk, Result("554"))
    assert not outbox.sending.withdraw(on_disk)
    disk.come_back()
    clock.advance(RETRY_SECONDS)
    assert not outbox.sending.sent(in_memory, Result("250"))

    assert {mail.subject: (mail.state, mail.tries) for mail in outbox.mails()} == {
        "on disk": ("waiting", 0),
        "in memory": ("waiting", 0),
    }


def test_a_digest_of_the_file_that_is_sent_after_an_outage_reports_what_it_held(
    outbox: Outbox, disk: Disk, clock: FakeClock
) -> None:
    outbox.record([an_event(A)] * 5)
    number = a_digest(outbox)
    disk.leave()
    outbox.record([an_event(A)] * 3)
    [in_memory] = outbox.unreported()
    assert (in_memory.count, in_memory.reported) == (3, 0)
    disk.come_back()
    clock.advance(RETRY_SECONDS)

    assert outbox.sending.sent(number, Result("250"))

    [group] = outbox.unreported()
    assert (group.count, group.reported) == (8, 5)


def test_a_group_resolved_before_the_outage_is_open_after_it(outbox: Outbox, disk: Disk, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    outbox.resolve(A)
    disk.leave()
    outbox.record([big(A)])
    disk.come_back()
    clock.advance(RETRY_SECONDS)

    [group] = outbox.unreported()

    assert (group.reopened, group.count, group.resolved_at) == (True, 2, START)


def test_a_group_resolved_in_memory_is_resolved_on_disk(outbox: Outbox, disk: Disk, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    disk.leave()
    outbox.record([big(A)])
    assert outbox.resolve(A)
    disk.come_back()
    clock.advance(RETRY_SECONDS)

    assert outbox.unreported() == []
    assert [group.count for group in outbox.groups(resolved=True)] == [2]


def test_a_digest_begun_in_memory_reports_on_disk_what_it_held(outbox: Outbox, disk: Disk, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    disk.leave()
    outbox.record([an_event(A), an_event(B)])
    a_digest(outbox)
    disk.come_back()
    clock.advance(RETRY_SECONDS)

    [waiting] = outbox.mails("waiting")
    content = outbox.sending.content(waiting.id)
    assert content is not None
    assert {share.fingerprint: share.new for share in content.shares} == {A: 2, B: 1}

    assert outbox.sending.sent(waiting.id, Result("250"))
    assert {group.fingerprint: group.count - group.reported for group in outbox.unreported()} == {A: 1}


def test_an_outbox_without_a_file_makes_none_for_a_mail_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outbox = Outbox(None)
    outbox.sending.sent(5, Result("250 kept"))
    outbox.close()

    assert list(tmp_path.iterdir()) == []


def test_memory_is_bounded(path: Path, clock: FakeClock) -> None:
    path.parent.touch()
    outbox = Outbox(OutboxOptions(path), clock=clock)

    for number in range(1_000):
        outbox.record([big(f"{number:016x}")])

    groups = outbox.groups(limit=2_000, samples=10)
    kept = sum(len(sample.traceback) for group in groups for sample in group.samples)
    assert MEMORY_BYTES / 2 < kept <= MEMORY_BYTES
    assert len(groups) == 1_000
    outbox.close()


BREAK = {
    "a table is gone": "DROP TABLE mails",
    "a table nobody asked for yet is gone": "DROP TABLE losses",
    "a column is gone": "ALTER TABLE groups DROP COLUMN muted_until",
    "a table has another name": "ALTER TABLE samples RENAME TO specimens",
    "nothing may be added": "CREATE TRIGGER no BEFORE INSERT ON samples BEGIN SELECT RAISE(ABORT, 'no'); END",
    "a view stands in for a table": "DROP TABLE digests; CREATE VIEW digests AS SELECT 1.0 AS left",
}


@pytest.mark.parametrize("how", ["read", "close"])
def test_rows_that_come_back_from_memory_stay_within_the_bound(
    path: Path, clock: FakeClock, disk: Disk, how: str
) -> None:
    first, second = (Outbox(OutboxOptions(path, max_bytes=LEAST_BYTES), clock=clock) for _ in range(2))
    first.record([an_event(f"{number:016x}", place="p" * 3_000) for number in range(150)])
    disk.leave()
    second.record([an_event(f"{number:016x}", place="p" * 3_000) for number in range(150, 300)])
    disk.come_back()

    clock.advance(RETRY_SECONDS)
    assert second.close() if how == "close" else second.groups()

    with closing(sqlite3.connect(path)) as file:
        [(size,)], [(pages,)], [(free,)] = (
            file.execute(f"PRAGMA {name}").fetchall() for name in ("page_size", "page_count", "freelist_count")
        )
    assert size * (pages - free) <= LEAST_BYTES
    assert first.totals().crowded_errors > 0
    first.close()
    second.close()


@pytest.mark.parametrize("opened", [True, False], ids=["in use", "before the start"])
@pytest.mark.parametrize("broken", BREAK.values(), ids=BREAK)
def test_a_file_that_somebody_broke_is_an_outage_and_raises_nothing(
    outbox: Outbox, path: Path, messages: Callable[[], list[str]], *, broken: str, opened: bool
) -> None:
    outbox.record([an_event(A)])
    if not opened:
        outbox.close()
    with closing(sqlite3.connect(path)) as file:
        file.executescript(broken)

    for _ in range(2):
        assert outbox.record([an_event(B)]) == 1
        outbox.sending.digest_is_due(900, 5)
        a_digest(outbox)
        outbox.post(a_message(), ["ada@example.org"])
        outbox.housekeeping()
        outbox.totals()

    assert not outbox.healthy
    assert outbox.record([an_event(B)]) == 1
    assert counts(outbox)[B] >= 1
    lease = outbox.sending.lead("host:1")
    assert lease is not None
    claimed = outbox.sending.claim(lease, grace=0)
    assert claimed is not None
    assert outbox.sending.sent(claimed.id, Result("250"))
    [warning] = messages()
    assert "cannot be used" in warning


def test_a_file_whose_table_is_there_again_is_used_again(outbox: Outbox, path: Path, clock: FakeClock) -> None:
    outbox.record([an_event(A)])
    with closing(sqlite3.connect(path)) as file:
        file.execute("ALTER TABLE mails RENAME TO letters")
    outbox.post(a_message(), ["ada@example.org"])
    clock.advance(RETRY_SECONDS)
    assert not outbox.healthy
    assert outbox.mails() != []
    with closing(sqlite3.connect(path)) as file:
        file.execute("ALTER TABLE letters RENAME TO mails")
    clock.advance(RETRY_SECONDS)

    assert [mail.id > 0 for mail in outbox.mails()] == [True]
    assert outbox.healthy


def test_losses_at_the_end_of_the_process_are_reported(
    outbox: Outbox, path: Path, messages: Callable[[], list[str]]
) -> None:
    path.parent.touch()
    outbox.record([an_event(A), an_event(A)])
    outbox.post(a_message(), ["ada@example.org"])
    messages()

    outbox.close()

    assert messages() == [f"{path} could not be used until the end: 2 errors and 1 mail are lost"]


def test_the_end_is_one_more_chance_for_the_disk(outbox: Outbox, path: Path, messages: Callable[[], list[str]]) -> None:
    path.parent.touch()
    outbox.record([an_event(A)])
    path.parent.unlink()

    outbox.close()

    reader = Outbox(OutboxOptions(path))
    assert counts(reader) == {A: 1}
    reader.close()
    assert len(messages()) == 2


def test_a_handler_that_asks_the_outbox_does_not_meet_itself(outbox: Outbox, path: Path) -> None:
    asked: list[dict[str, int]] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            asked.append(counts(outbox))

    logger, handler = logging.getLogger("quartblog.delivery"), Asking()
    logger.addHandler(handler)
    path.parent.touch()
    try:
        outbox.record([an_event(A)])
    finally:
        logger.removeHandler(handler)

    assert asked == [{A: 1}]
