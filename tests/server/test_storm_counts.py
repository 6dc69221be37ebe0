"""Many processes fail at once: one group, an exact count, few mails, whole records."""

import re
import time
from pathlib import Path

import pytest

from tests.server.host import Counted, Host, by_message_id, error_ids, new_errors
from tests.support.processes import eventually
from tests.support.smtp import MailServer

pytestmark = pytest.mark.server

WORKERS = 4
EACH = 250
MINUTE = 60.0
RECORD = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR: request \d+ failed \[in \S+:\d+\] \[id \w+\]\n"
    r"Traceback \(most recent call last\):\n"
    r"  File \S+ line \d+, in fail\n"
    r"    view\(kind, number\)\n(?:    [~^]+\n)?"
    r"  File \S+ line \d+, in view\n"
    r"    raise .*\n(?:    [~^]+\n)?"
    r"\S*Fault: request \d+\n"
)


def test_a_thousand_equal_failures_of_four_processes_are_one_group_and_a_few_mails(
    tmp_path: Path, mail_server: MailServer
) -> None:
    with Host(tmp_path, mail_server.port, window_seconds=3.0, batch_seconds=0.1) as host:
        workers = [host.start() for _ in range(WORKERS)]
        for worker in workers:
            worker.wait_until_ready()

        for worker in workers:
            worker.fail(EACH)
        answers = [answer for worker in workers for answer in worker.wait_for(EACH)]

        eventually(lambda: host.counted >= WORKERS * EACH and host.all_told)
        assert [worker.end() for worker in workers] == [0] * WORKERS
        assert [worker.stderr for worker in workers] == [""] * WORKERS

    assert host.groups == [Counted("__main__.Fault", count=1_000, reported=1_000)]
    assert len(mail_server.mails) <= 11
    assert len(by_message_id(mail_server.mails)) == len(mail_server.mails), "nothing was interrupted: no mail twice"
    assert sum(map(new_errors, mail_server.mails)) == 1_000
    assert len(answers) == 1_000
    assert sorted(error_ids(host.errors)) == sorted(answer.error_id for answer in answers)
    assert [record for record in host.errors if not RECORD.fullmatch(record)] == [], "no record is torn"


def test_a_thousand_equal_failures_within_a_minute_are_at_most_eleven_mails(
    tmp_path: Path, mail_server: MailServer
) -> None:
    with Host(tmp_path, mail_server.port) as host:
        workers = [host.start() for _ in range(WORKERS)]
        for worker in workers:
            worker.wait_until_ready()
        began = time.monotonic()

        for worker in workers:
            worker.fail(EACH, pause=MINUTE / EACH)
        for worker in workers:
            worker.wait_for(EACH)
        took = time.monotonic() - began
        eventually(lambda: host.counted >= WORKERS * EACH)
        assert [worker.end() for worker in workers] == [0] * WORKERS
        within = len(mail_server.mails)

        # The rest is due when the quarter of an hour of the window is over; whoever comes next has a shorter one.
        last = host.start(window_seconds=0.1).wait_until_ready()
        eventually(lambda: host.all_told)
        assert last.end() == 0

    assert MINUTE * 0.99 < took < MINUTE * 1.2
    assert host.groups == [Counted("__main__.Fault", count=1_000, reported=1_000)]
    assert 2 < within < len(mail_server.mails) <= 11
    assert len(by_message_id(mail_server.mails)) == len(mail_server.mails)
    assert sum(map(new_errors, mail_server.mails)) == 1_000
