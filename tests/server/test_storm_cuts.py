"""A mail server that hangs up in the middle of a mail gets the same mail again, and delivers it once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.host import Host, new_errors
from tests.support.processes import eventually
from tests.support.smtp import Accepting, MailServer

pytestmark = pytest.mark.server

CUTS = 2
MESSAGE_ID = b"Message-ID: "


class CuttingServer(MailServer):
    """Hangs up on the first mails, each time when a line that begins with `mark` has come."""

    def __init__(self, mark: bytes) -> None:
        super().__init__(Cutting)
        self.mark = mark
        self.cut: list[str] = []
        """The Message-IDs of what it hung up on."""


class Cutting(Accepting):
    """The protocol of such a server."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        server = self.event_handler
        assert isinstance(server, CuttingServer)
        if len(server.cut) == CUTS:
            await super().smtp_DATA(arg)
            return
        await self.push("354 go on")
        lines = [b""]
        while not lines[-1].startswith(server.mark):
            lines.append(await self._reader.readline())
        [message_id] = [line for line in lines if line.startswith(MESSAGE_ID)]
        server.cut.append(message_id.removeprefix(MESSAGE_ID).strip().decode())
        self.transport.abort()  # type: ignore[union-attr]  # connected by now


@pytest.mark.parametrize(
    "mark", [MESSAGE_ID, b"--===", b".\r\n"], ids=["in the header", "in the body", "before the answer"]
)
def test_a_mail_that_is_cut_off_is_sent_again_as_the_same_mail(tmp_path: Path, mark: bytes) -> None:
    with CuttingServer(mark) as mail_server, Host(tmp_path, mail_server.port, retry_min=0.1, retry_max=0.2) as host:
        program = host.start().wait_until_ready()
        program.fail(1)

        [mail] = mail_server.wait_for(1)

        eventually(lambda: host.all_told)
        assert program.end() == 0
        assert mail_server.mails == [mail]
        assert mail_server.cut == [mail.message["Message-ID"]] * CUTS
        assert new_errors(mail) == host.counted == len(host.errors) == 1, "a mail that fails is no error of its own"
        assert program.stderr.count("it is tried again") == 1
