"""The outbox becomes another one while the delivery runs: nothing is lost, and nothing is left behind unsaid."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Delivery, FileOptions, Outbox, OutboxOptions
from quartblog.delivery.stderr import MAILER_THREAD

from .outboxes import message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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

    def warnings(self) -> list[str]:
        assert self.delivery.drain()
        return [line for line in self._log.path.read_text().splitlines() if " WARNING: " in line]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    with site.delivery:
        yield site


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
    monkeypatch.setattr(Outbox, "inherit", lambda *_: site.delivery.stop())

    site.change(site.second)

    assert MAILER_THREAD not in {thread.name for thread in threading.enumerate()}


def test_what_was_only_in_memory_moves_to_the_first_file(site: Site, tmp_path: Path) -> None:
    site.change(None)
    site.fail(2)
    site.delivery.post(message(), ["ada@example.org"])

    site.change(site.second)

    assert held(site.second) == (2, 1)
