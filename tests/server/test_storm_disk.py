"""A disk without room: the program goes on and mails, stderr reports it, and all is well again by itself."""

from pathlib import Path

import pytest

from tests.server.host import Host, by_message_id, error_ids, new_errors
from tests.support.processes import eventually
from tests.support.smtp import MailServer

pytestmark = pytest.mark.server

EACH = 50


def test_a_full_disk_stops_neither_the_program_nor_its_mail_and_is_recovered_from(
    tmp_path: Path, mail_server: MailServer
) -> None:
    with Host(tmp_path, mail_server.port, batch_seconds=0.1, window_seconds=0.2) as host:
        program = host.start().wait_until_ready()
        program.fail(EACH, "Before")
        before = program.wait_for(EACH)
        eventually(lambda: host.counted == EACH and host.all_told)

        # Room for a part of one more record.
        program.limit_files(host.log_size + 100)
        program.fail(EACH, "During")
        program.wait_for(2 * EACH)
        eventually(lambda: "site.log cannot be written, records are lost until it can" in program.stderr)
        eventually(lambda: "outbox.sqlite3 cannot be used, errors and mails are kept in memory" in program.stderr)
        eventually(lambda: any("During" in mail.subject for mail in mail_server.mails))

        program.limit_files(None)
        program.fail(EACH, "After")
        after = program.wait_for(3 * EACH)[2 * EACH :]
        eventually(lambda: "outbox.sqlite3 is used again; errors and mails from memory are in it now" in program.stderr)
        eventually(lambda: host.counted == 3 * EACH and host.all_told)
        assert program.end() == 0

    assert "site.log is written again; " in program.stderr
    assert program.stderr.count("cannot be") == 2, "each outage is reported once"
    assert {answer.error_id for answer in [*before, *after]} <= set(error_ids(host.errors))
    assert len(by_message_id(mail_server.mails)) == len(mail_server.mails), "no mail twice"
    assert sum(map(new_errors, mail_server.mails)) == 3 * EACH
