"""Whose the files are, who may read them, and what a volume without locks makes of them."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Delivery, FileOptions, MailOptions, Outbox, OutboxOptions
from quartblog.delivery.capture.log_file import RotatingFile
from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


logger = logging.getLogger("tests.delivery.volumes")

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for another user")

# Everything is imported first: the interpreter itself may be where only root can read it.
SERVICE = """
import logging, multiprocessing.util, os, socket, sys
from pathlib import Path
from quartblog.delivery import Delivery, FileOptions, OutboxOptions
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
folder = Path(sys.argv[1])
delivery = Delivery(
    file=FileOptions(path=folder / "site.log", max_bytes=1024, compress="compress" in sys.argv),
    outbox=OutboxOptions(folder / "outbox.sqlite3"),
)
with delivery:
    logging.getLogger("service").error("%s", "x" * 2000)
    assert delivery.drain()
    print(delivery.healthy and not delivery.degraded)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that belongs to the service's user, who can reach it: pytest keeps those above its own to itself."""
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        made = Path(above) / "service"
        made.mkdir(mode=0o750)
        os.chown(made, NOBODY, NOBODY)
        yield made


def by_the_service(folder: Path, *words: str) -> str:
    """What the service's own user makes of the files that are there."""
    ran = subprocess.run(
        [sys.executable, "-c", SERVICE, folder, *words],
        # Not measured: this user may not write where coverage.py keeps its figures.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return ran.stdout + ran.stderr


def owners(folder: Path) -> dict[str, tuple[int, int]]:
    return {one.name: (one.stat().st_uid, one.stat().st_gid) for one in (folder, *folder.rglob("*"))}


def modes(folder: Path) -> dict[str, int]:
    return {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.rglob("*") if one.is_file()}


def log_and_rotate(folder: Path, *, compress: bool = False) -> None:
    file = FileOptions(path=folder / "site.log", max_bytes=1024, backup_count=5, compress=compress)
    with Delivery(file=file, outbox=OutboxOptions(folder / "outbox.sqlite3")) as delivery:
        for _ in range(5):
            logger.error("%s", "x" * 2_000)
            assert delivery.drain()


@needs_root
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_what_root_makes_belongs_to_the_folders_owner_and_the_service_goes_on(folder: Path, *, compress: bool) -> None:
    log_and_rotate(folder, compress=compress)
    outbox = Outbox(OutboxOptions(folder / "outbox.sqlite3"))
    outbox.groups()
    made = owners(folder)
    outbox.close()

    assert len(made) > 8
    assert {"site.log", ".__site.lock", "outbox.sqlite3-wal", "outbox.sqlite3-shm"} < set(made)
    assert set(made.values()) == {(NOBODY, NOBODY)}
    assert by_the_service(folder, "compress" if compress else "") == "True\n"


@needs_root
def test_after_root_has_rotated_the_services_own_log_it_writes_on(folder: Path) -> None:
    assert by_the_service(folder) == "True\n"
    log_and_rotate(folder)

    assert set(owners(folder).values()) == {(NOBODY, NOBODY)}
    assert by_the_service(folder) == "True\n"


@needs_root
def test_folders_that_root_makes_belong_to_the_owner_of_the_one_above(folder: Path) -> None:
    log_and_rotate(folder / "deeper" / "still")

    assert set(owners(folder).values()) == {(NOBODY, NOBODY)}


@needs_root
def test_in_roots_own_folder_for_a_group_the_group_can_go_on(tmp_path: Path, folder: Path) -> None:
    os.chown(folder, 0, NOBODY)
    folder.chmod(0o770)
    log_and_rotate(folder)

    assert by_the_service(folder) == "True\n"


@needs_root
def test_a_user_without_write_permission_does_not_rotate_the_log(folder: Path) -> None:
    log_and_rotate(folder)
    for name in ("site.log", ".__site.lock"):
        os.chown(folder / name, 0, 0)
    before = {one: (folder / one).read_bytes() for one in ("site.log", "site.log.1")}

    assert "False" in by_the_service(folder)
    assert {one: (folder / one).read_bytes() for one in before} == before


@needs_root
@pytest.mark.parametrize("name", ["site.log", ".__site.lock", "outbox.sqlite3.opening"])
def test_a_link_that_waits_for_root_is_not_given_away(folder: Path, tmp_path: Path, name: str) -> None:
    treasure = tmp_path / "roots own"
    treasure.write_text("")
    (folder / name).symlink_to(treasure)
    log_and_rotate(folder)

    assert (treasure.stat().st_uid, treasure.stat().st_gid) == (0, 0)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_logs_are_the_groups_to_read_and_locks_and_the_outbox_nobodys(tmp_path: Path, *, compress: bool) -> None:
    folder = tmp_path / "logs"
    before = os.umask(0o022)
    try:
        log_and_rotate(folder, compress=compress)
    finally:
        os.umask(before)

    found = modes(folder)
    logs = {mode for name, mode in found.items() if name.startswith("site.log")}
    others = {mode for name, mode in found.items() if not name.startswith("site.log")}
    assert (logs, others) == ({0o640}, {0o600})
    assert sum(name.startswith("site.log") for name in found) > 3


def test_a_stricter_umask_holds(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        log_and_rotate(tmp_path / "logs")
    finally:
        os.umask(before)

    assert set(modes(tmp_path / "logs").values()) == {0o600}


@needs_root
def test_the_folders_group_is_kept(folder: Path) -> None:
    os.chown(folder, 0, 4)
    folder.chmod(0o2750)
    log_and_rotate(folder)

    assert {owner for name, owner in owners(folder).items() if name != "service"} == {(0, 4)}


def test_a_file_that_its_operator_opened_to_a_group_stays_so_when_it_is_rotated(tmp_path: Path) -> None:
    (tmp_path / "site.log").write_text("x" * 2_000)
    (tmp_path / "site.log").chmod(0o660)
    log_and_rotate(tmp_path)

    assert modes(tmp_path)["site.log"] == modes(tmp_path)["site.log.1"] == 0o660


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL], ids=errno.errorcode.get)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume without flock. None can be had here, so the call fails as it would there."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr("portalocker.portalocker.LOCKER", refuse)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_everything_is_written_and_that_is_said_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = FileOptions(path=tmp_path / "site.log", max_bytes=5_000, backup_count=50)
    with Delivery(file=file, outbox=OutboxOptions(tmp_path / "outbox.sqlite3")) as delivery:
        for number in range(100):
            logger.error("number %d", number)
            if number % 10 == 0:
                assert delivery.drain()
        assert delivery.drain()
        assert delivery.healthy
        assert not delivery.degraded
        figures = delivery.statistics()

    log = "".join(one.read_text() for one in tmp_path.glob("site.log*"))
    assert sorted(map(int, re.findall(r"ERROR: number (\d+)", log))) == list(range(100))
    assert (figures.grouped, figures.file_lost) == (100, 0)
    assert log.count("is written without a lock") == 1
    assert capfd.readouterr().err.count("is written without a lock") == 1


@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_mail_leaves_too(
    tmp_path: Path, accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    file, outbox = FileOptions(path=tmp_path / "site.log"), OutboxOptions(tmp_path / "outbox.sqlite3")
    with Delivery(file=file, outbox=outbox, mail=mail_to(accepting_server)) as delivery:
        logger.error("it failed")
        assert delivery.drain(mail=True)

    assert len(accepting_server.messages) == 1


def test_a_lock_that_fails_for_another_reason_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("portalocker.portalocker.LOCKER", refuse)
    file = RotatingFile(FileOptions(path=tmp_path / "site.log"))

    assert file.write(["line"]) == 0
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("utc", "says", "hour"), [(False, "are local, UTC+05:30 (IST)", "05:30"), (True, "are UTC [", "00:00")]
)
def test_the_log_names_the_time_zone_of_its_times(tmp_path: Path, *, utc: bool, says: str, hour: str) -> None:
    source = f"""
import logging, sys, time
from pathlib import Path
from quartblog.delivery import Delivery, FileOptions
with Delivery(file=FileOptions(path=Path(sys.argv[1]), utc={utc})):
    made = logging.LogRecord("app", 40, "a.py", 1, "at midnight", None, None)
    made.created = 86400 * 20000.0
    made.msecs = 0.0
    logging.root.handle(made)
"""
    path = tmp_path / "site.log"
    subprocess.run([sys.executable, "-c", source, path], env=os.environ | {"TZ": "IST-05:30"}, check=True, timeout=60)

    log = path.read_text()
    assert log.count("Times in this log are") == 1
    assert says in log.splitlines()[0]
    assert f"2024-10-04 {hour}:00,000 ERROR: at midnight" in log


def test_a_change_of_the_time_zone_is_logged_and_each_json_line_has_the_zone(tmp_path: Path) -> None:
    path = tmp_path / "site.log"
    with Delivery(file=FileOptions(path=path, format="json")) as delivery:
        assert delivery.drain()
        assert "Times in this log are" not in path.read_text()
        delivery.reconfigure(file=FileOptions(path=path, utc=True))
        delivery.reconfigure(file=FileOptions(path=path, utc=True, backup_count=3))
        assert delivery.drain()

    assert path.read_text().count("Times in this log are UTC") == 1
