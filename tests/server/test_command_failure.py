"""A command that fails unexpectedly, beside a site that runs: the site mails the report."""

import re
import sqlite3
import sys
from contextlib import closing

import pytest

from tests.support.processes import Servers, eventually
from tests.support.smtp import MailServer

pytestmark = pytest.mark.server


def test_the_running_site_mails_what_a_command_recorded(servers: Servers, mail_server: MailServer) -> None:
    folder = servers.site(mail=mail_server.settings)
    site = servers.quartblog(folder, workers=1)
    with closing(sqlite3.connect(folder / "instance" / "quartblog.sqlite3")) as database:
        database.execute("ALTER TABLE users RENAME TO gone")

    command = servers.start([sys.executable, "-m", "quartblog.cli", "user", "admin", "ada"], folder)

    assert command.ended() == 1
    printed = re.fullmatch(r"Error: quartblog user admin failed .* see error (\w{12}) in logs/.*\n", command.stderr)
    assert printed, command.stderr
    eventually(lambda: mail_server.mails)
    assert printed[1] in mail_server.mails[0].text
    assert "quartblog user admin" in mail_server.mails[0].text
    assert f"[id {printed[1]}]" in site.log
    assert site.stop() == 0
