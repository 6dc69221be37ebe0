"""The button that sends a test mail, on a site that has a mail server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.browsing import Configuration, Visitor

PATH = "/operations/delivery"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def configuration(configuration: Configuration, server: MailServer) -> Configuration:
    """The files of every test, and a mail server."""
    return configuration | {"mail": server.settings}


async def test_a_test_mail_reaches_the_administrators(admin: Visitor, server: MailServer) -> None:
    await admin.submit(PATH, action="try-mail")
    assert "测试邮件已排队" in (await admin.get(PATH)).text
    [mail] = await asyncio.to_thread(server.wait_for, 1)

    assert "A test mail" in mail.subject
    assert "ada asked for it on the operations pages" in mail.text
    assert list(mail.recipients) == ["ada@example.org", "grace@example.org"]


async def test_a_mail_that_was_refused_stands_with_the_servers_words(admin: Visitor, server: MailServer) -> None:
    server.behaviour = "550 5.1.1 no such mailbox"
    await admin.submit(PATH, action="try-mail")

    page = await admin.get(PATH)
    while "no such mailbox" not in page.text:
        page = await admin.get(PATH)
    assert "失败" in page.text
