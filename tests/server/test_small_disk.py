"""The disk of log and outbox is really full, or read-only: the site answers and mails, and recovers by itself."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.server.host import by_message_id, error_ids, new_errors
from tests.support.processes import Servers, eventually
from tests.support.small_disk import SmallDisk, mounting, why_not
from tests.support.smtp import MailServer

pytestmark = pytest.mark.server

EACH = 40
PROMPT: dict[str, object] = {"batch_seconds": 0.1, "window_seconds": 1.0, "mails_per_hour": 10_000}

COUNT = """
import contextlib, sqlite3, sys
with contextlib.closing(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=60)) as database:
    print(*database.execute("SELECT coalesce(sum(count), 0), coalesce(sum(reported), 0) FROM groups").fetchone())
"""


class Site:
    """Two workers whose log and outbox are on a disk of their own."""

    def __init__(self, disk: SmallDisk) -> None:
        self.disk = disk
        self.server = disk.server
        self.failed = 0

    def fail(self) -> list[str]:
        """Let visitors meet many errors at once, and return the errors' ids."""
        with ThreadPoolExecutor(8) as visitors:
            pages = list(visitors.map(lambda _: self.server.client().get("/errors/rehearsal"), range(EACH)))
        assert {page.status for page in pages} == {500}
        assert all("发生意外错误" in page.text for page in pages)
        self.failed += EACH
        return [page.headers["X-Error-Id"] for page in pages]

    @property
    def log(self) -> str:
        """The log files on the disk."""
        return "".join(path.read_text("utf-8") for path in self.disk.path.glob("microblog.log*"))

    @property
    def counted(self) -> tuple[int, int]:
        """The errors in the outbox on the disk, and those of them that were mailed."""
        # In there: SQLite follows /proc/N/root to the root of this process.
        counted, reported = self.disk.run(sys.executable, "-c", COUNT, str(self.disk.point / "outbox.sqlite3")).split()
        return int(counted), int(reported)

    def told_by_each_worker(self, words: str) -> bool:
        """Whether both have said so; one that meets another reason, or recovers for a moment, says it again."""
        return self.server.stderr.count(words) >= 2


@pytest.fixture
def start(tmp_path: Path, servers: Servers, mail_server: MailServer) -> Callable[[str], Site]:
    """Start the blog with a small disk, which is mounted with these options."""

    def start(options: str) -> Site:
        folder = servers.site(
            mail=mail_server.settings,
            logging={"directory": "logs", "backup_count": 5},
            delivery=PROMPT | {"outbox": "logs/outbox.sqlite3"},
            errors={"rehearsal_route": True},
        )
        point = folder / "logs"
        point.mkdir()
        if problem := why_not(point):
            pytest.skip(f"nobody may mount a disk here: {problem}")
        server = servers.quartblog(folder, until="/healthz", within=mounting(point, options))
        return Site(SmallDisk(server, point))

    return start


def test_a_disk_that_is_full_and_gets_room_again(start: Callable[[str], Site], mail_server: MailServer) -> None:
    site = start("rw")
    before = site.fail()
    eventually(lambda: site.counted == (EACH, EACH))

    site.disk.fill()
    site.fail()

    eventually(lambda: site.told_by_each_worker("microblog.log cannot be written, records are lost until it can"))
    eventually(lambda: site.told_by_each_worker("outbox.sqlite3 cannot be used, errors and mails are kept in memory"))
    assert "No space left on device" in site.server.stderr
    visitor = site.server.client()
    assert visitor.get("/").status == 200
    degraded = visitor.get("/readyz")
    assert degraded.status == 200
    assert "log file cannot be written" in degraded.text
    assert "outbox in memory" in degraded.text
    visitor.register("ada")
    eventually(lambda: sum(map(new_errors, mail_server.mails)) >= 2 * EACH)

    site.disk.free()
    after = site.fail()

    assert_recovered(site, mail_server, {*before, *after})


def test_a_disk_that_is_read_only_at_the_start_and_becomes_writable(
    start: Callable[[str], Site], mail_server: MailServer
) -> None:
    site = start("ro")
    site.fail()

    eventually(lambda: site.told_by_each_worker("microblog.log cannot be written, records are lost until it can"))
    assert "Read-only file system" in site.server.stderr
    assert site.server.client().get("/").status == 200
    eventually(lambda: sum(map(new_errors, mail_server.mails)) == EACH)

    site.disk.make_writable()
    after = site.fail()

    assert_recovered(site, mail_server, {*after})


def assert_recovered(site: Site, mail_server: MailServer, logged: set[str]) -> None:
    """Log and outbox are used again, nothing that was counted is lost, and every error is in a mail."""
    eventually(lambda: logged <= set(error_ids([site.log])))
    eventually(
        lambda: site.told_by_each_worker("outbox.sqlite3 is used again; errors and mails from memory are in it now")
    )
    eventually(lambda: site.counted == (site.failed, site.failed))
    # More are possible: a digest of the memory may be on its way while its errors are added to the file.
    eventually(lambda: sum(map(new_errors, mail_server.mails)) >= site.failed)
    assert len(by_message_id(mail_server.mails)) == len(mail_server.mails), "no mail twice"
    assert '"status":"ok"' in site.server.client().get("/readyz").text
    assert site.server.stop() == 0
    assert site.told_by_each_worker("microblog.log is written again; ")
