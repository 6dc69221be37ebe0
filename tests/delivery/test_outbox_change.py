"""The outbox becomes another one while the delivery runs: nothing is lost, and nothing is left behind unsaid."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Delivery, FileOptions, Outbox, OutboxOptions, configuration, running
from quartblog.delivery.capture.log_file import RotatingFile
from quartblog.delivery.deadlines import THREAD
from quartblog.delivery.own_log import MAILER_THREAD
from quartblog.delivery.store import database as outbox_file

from .outboxes import message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from quartblog.delivery.mail.posting import Posting

logger = logging.getLogger("tests.delivery.outbox_change")


class Site:
    """A delivery without a mail server: all that is to be mailed waits in its outbox."""

    def __init__(self, folder: Path) -> None:
        self.first = folder / "first.sqlite3"
        self.second = folder / "second.sqlite3"
        self._log = FileOptions(path=folder / "site.log")
        self.delivery = Delivery(file=self._log, outbox=OutboxOptions(self.first))

    def fail(self, times: int = 1) -> None:
        """Log so many equal errors, and wait until they are stored."""
        for _ in range(times):
            logger.error("it failed")
        assert self.delivery.drain()

    def change(self, path: Path | None, *, samples: int = 10) -> None:
        self.delivery.reconfigure(file=self._log, outbox=OutboxOptions(path, samples=samples) if path else None)

    def posting(self) -> Posting:
        assert self.delivery._running is not None
        return self.delivery._running.posting

    def warnings(self) -> list[str]:
        assert self.delivery.drain()
        return [line for line in self._log.path.read_text().splitlines() if " WARNING: " in line]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    with site.delivery:
        yield site


class Disk:
    """One that hangs until it answers."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._answers = threading.Event()

    def hang(self, *_: object) -> None:
        self.entered.set()
        assert self._answers.wait(30)

    def hang_in(self, outbox: Outbox) -> None:
        """Let whoever wants this outbox wait for a write that does not return."""
        threading.Thread(target=outbox._storage.write, args=(self.hang,), daemon=True).start()
        assert self.entered.wait(5)

    def answer(self) -> None:
        """Return to all who wait, and see those end that were left behind."""
        self._answers.set()
        for thread in threading.enumerate():
            if thread.name == THREAD:
                thread.join(10)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.answer()


@pytest.fixture
def left_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change waits for the old outbox for a moment only."""
    monkeypatch.setattr(running, "UNDER_WAY", 0.05)


def in_time(work: Callable[[], object]) -> bool:
    """Whether it ends by itself, long before the disk answers."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


def held(path: Path) -> tuple[int, int]:
    """How many errors and mails wait in an outbox."""
    outbox = Outbox(path)
    totals = outbox.totals()
    outbox.close()
    return totals.to_mail, totals.waiting


def a_folder(path: Path) -> None:
    path.mkdir()


def below_a_file(path: Path) -> None:
    path.parent.write_text("no folder")


def no_database(path: Path) -> None:
    path.write_text("these are settings, and somebody's only copy of them\n" * 40)


def another_programs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE posts (body TEXT)")


def of_a_later_version(path: Path) -> None:
    held(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 1000")


@pytest.mark.parametrize("put", [a_folder, below_a_file, no_database, another_programs, of_a_later_version])
def test_a_place_that_cannot_be_used_is_refused_and_the_old_one_stays(
    site: Site, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    path = tmp_path / "below" / "other.sqlite3" if put is below_a_file else tmp_path / "other.sqlite3"
    put(path)

    with pytest.raises(OSError, match=str(tmp_path)):
        site.change(path)

    site.fail()
    assert held(site.first) == (1, 0)
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_an_outbox_whose_disk_hangs_is_refused_and_the_next_change_is_free(
    site: Site, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(configuration, "ANSWER", 0.05)
        patch.setattr(outbox_file, "check", disk.hang)
        with pytest.raises(OSError, match=r"third\.sqlite3 does not answer"):
            site.change(tmp_path / "third.sqlite3")
    site.fail()
    assert held(site.first) == (1, 0)
    site.change(site.second)
    site.fail()

    assert held(site.second) == (1, 0)


def test_a_log_file_whose_disk_hangs_is_refused_and_the_old_one_stays(
    site: Site, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "ANSWER", 0.05)
    monkeypatch.setattr(RotatingFile, "check", disk.hang)
    with pytest.raises(OSError, match=r"other\.log does not answer"):
        site.delivery.reconfigure(file=FileOptions(path=tmp_path / "other.log"), outbox=OutboxOptions(site.first))
    logger.warning("it goes on")

    assert "it goes on" in site.warnings()[-1]


def test_an_old_outbox_whose_disk_hangs_holds_nobody_up_and_is_told_of_when_it_answers(
    site: Site, disk: Disk, left_soon: None
) -> None:
    site.fail(2)
    disk.hang_in(site.posting().outbox)

    assert in_time(lambda: site.change(site.second))
    site.fail()
    site.delivery.post(message(), ["ada@example.org"])
    assert held(site.second) == (1, 1)
    assert f"{site.first} is no longer the outbox: whether anything waits there cannot be seen" in site.warnings()[-1]

    disk.answer()
    assert f"{site.first} is no longer the outbox: errors in no mail yet: 2, waiting mails: 0" in site.warnings()[-1]


def test_what_memory_held_while_the_old_disk_hung_moves_to_the_outbox_of_the_day(
    site: Site, disk: Disk, left_soon: None
) -> None:
    site.first.mkdir()
    site.fail(2)
    disk.hang_in(site.posting().outbox)
    third = site.second.with_name("third.sqlite3")

    assert in_time(lambda: site.change(site.second))
    assert in_time(lambda: site.change(third))
    disk.answer()

    assert held(third) == (2, 0)
    assert held(site.second) == (0, 0)


def test_who_inherits_takes_hold_of_nothing_new_while_the_old_disk_hangs(tmp_path: Path, disk: Disk) -> None:
    before, after = Outbox(tmp_path / "before.sqlite3"), Outbox(tmp_path / "after.sqlite3")
    disk.hang_in(before)
    inheriting = threading.Thread(target=after.inherit, args=(before,), daemon=True)
    inheriting.start()

    assert in_time(after.totals)

    disk.answer()
    inheriting.join(10)
    before.close()
    after.close()


def test_an_old_outbox_that_cannot_be_left_in_order_is_told_and_the_change_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("not like this")

    monkeypatch.setattr(Outbox, "inherit", refuse)

    site.change(site.second)
    site.fail()

    assert held(site.second) == (1, 0)
    assert f"{site.first} could not be left in order: RuntimeError: not like this" in site.warnings()[-1]
    assert MAILER_THREAD in {thread.name for thread in threading.enumerate()}


def test_what_memory_held_while_the_old_disk_hung_moves_when_it_answers(
    site: Site, disk: Disk, left_soon: None, capsys: pytest.CaptureFixture[str]
) -> None:
    site.first.mkdir()
    site.fail(2)
    disk.hang_in(site.posting().outbox)

    assert in_time(lambda: site.change(site.second))
    assert in_time(site.fail)
    assert held(site.second) == (1, 0)

    disk.answer()
    assert held(site.second) == (3, 0)
    assert "lost" not in capsys.readouterr().err


def test_a_mail_on_its_way_into_the_old_file_is_counted_among_what_waits_there(
    site: Site, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = site.posting().outbox
    store = outbox.post

    def store_slowly(*mail: Any) -> int:
        disk.hang()
        return store(*mail)

    monkeypatch.setattr(outbox, "post", store_slowly)
    post = threading.Thread(target=site.delivery.post, args=(message(), ["ada@example.org"]))
    post.start()
    assert disk.entered.wait(5)
    change = threading.Thread(target=site.change, args=(site.second,))
    change.start()
    # It would be over by now if it did not wait for the mail.
    change.join(0.3)
    disk._answers.set()
    post.join(10)
    change.join(10)

    [warning] = site.warnings()
    assert "waiting mails: 1" in warning
    assert held(site.first) == (0, 1)


def test_a_mail_that_comes_too_late_for_the_old_file_goes_to_the_new_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site.posting()
    post = before.post

    def post_after_the_change(*mail: Any) -> int | None:
        site.change(site.second)
        return post(*mail)

    monkeypatch.setattr(before, "post", post_after_the_change)
    number = site.delivery.post(message(), ["ada@example.org"])

    assert number == 1
    assert held(site.first) == (0, 0)
    assert held(site.second) == (0, 1)


def test_what_waits_in_the_old_file_is_told_with_what_to_do(site: Site) -> None:
    site.fail(3)
    site.delivery.post(message(), ["ada@example.org"])

    site.change(site.second)
    site.fail()

    [warning] = site.warnings()
    assert f"{site.first} is no longer the outbox: errors in no mail yet: 3, waiting mails: 1" in warning
    assert "they stay there until it is the outbox once more" in warning
    assert held(site.first) == (3, 1)
    assert held(site.second) == (1, 0)


def test_an_old_file_in_which_nothing_waits_is_not_worth_a_word(site: Site) -> None:
    site.change(site.second)

    assert site.warnings() == []


def test_another_name_of_the_same_file_leaves_nothing_behind(site: Site, tmp_path: Path) -> None:
    site.fail()
    (tmp_path / "link").symlink_to(tmp_path)

    site.change(tmp_path / "link" / site.first.name)
    site.fail()
    site.change(site.first, samples=5)
    site.fail()

    assert site.warnings() == []
    assert held(site.first) == (3, 0)


def test_other_bounds_of_the_same_file_lose_nothing_while_its_disk_fails(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.first.mkdir()
    site.fail(2)
    site.delivery.post(message(), ["ada@example.org"])

    site.change(site.first, samples=5)
    site.fail()
    site.first.rmdir()
    site.delivery.stop()

    assert held(site.first) == (3, 1)
    assert "lost" not in capsys.readouterr().err


def test_what_a_failed_disk_left_in_memory_moves_to_the_new_file(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.fail()
    for file in site.first.parent.glob(f"{site.first.name}*"):
        file.rename(file.with_name(f"kept-{file.name}"))
    site.first.mkdir()
    site.fail(2)
    site.delivery.post(message(), ["ada@example.org"])

    site.change(site.second)
    site.fail()

    assert held(site.second) == (3, 1)
    assert f"{site.first} is no longer the outbox: whether anything waits there cannot be seen" in site.warnings()[-1]
    assert "lost" not in capsys.readouterr().err


def test_a_change_that_a_slow_disk_held_until_the_stop_starts_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outbox, "inherit", lambda *_: site.delivery.stop(0.2))

    site.change(site.second)

    assert MAILER_THREAD not in {thread.name for thread in threading.enumerate()}


def test_what_was_only_in_memory_moves_to_the_first_file(site: Site, tmp_path: Path) -> None:
    site.change(None)
    site.fail(2)
    site.delivery.post(message(), ["ada@example.org"])

    site.change(site.second)

    assert held(site.second) == (2, 1)
