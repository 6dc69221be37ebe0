"""The private mail server, as mail programs that others wrote see it."""

import asyncio
import contextlib
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import pytest

from quartblog.rehearsal.server import RehearsalServer

MESSAGE = b"Subject: hello\r\n\r\n..a line with a dot\r\nend\r\n"


def test_a_mail_of_the_standard_library_is_taken_whole() -> None:
    with serving() as server, smtplib.SMTP("127.0.0.1", server.port) as client:
        before = time.time()
        assert client.sendmail("blog@example.org", ["ada@example.org", "grace@example.org"], MESSAGE) == {}
        client.sendmail("blog@example.org", ["ada@example.org"], b"Subject: two\r\n\r\n")

    first, second = server.taken()
    assert b"Subject: hello\r\n\r\n" in first.data
    assert first.data.endswith(b"end\r\n.\r\n")
    assert before <= first.at <= second.at <= time.time()


async def test_a_mail_of_aiosmtplib_is_taken_and_a_long_one_too() -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "blog@example.org", "ada@example.org", "long"
    message.set_content("a line of the text\n" * 200_000)

    with serving() as server:
        refused, answer = await aiosmtplib.send(message, hostname="127.0.0.1", port=server.port)

    assert refused == {}
    assert "taken" in answer
    assert len(server.taken()[0].data) > 3_000_000


def test_a_slow_server_acknowledges_a_mail_only_after_its_delay() -> None:
    release = threading.Event()
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)
        await asyncio.to_thread(release.wait, 60)

    with serving(delay=7, sleep=sleep) as server:
        client = smtplib.SMTP("127.0.0.1", server.port)
        client.ehlo()
        for command in ("MAIL FROM:<blog@example.org>", "RCPT TO:<ada@example.org>"):
            assert client.docmd(command)[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGE + b".\r\n")
        assert client.sock is not None
        client.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        assert server.taken() == []
        assert asked == [7]
        client.sock.settimeout(10)
        release.set()
        assert client.sock.recv(3) == b"250"
        client.close()

    assert len(server.taken()) == 1


def test_a_server_that_is_down_refuses_until_it_is_back() -> None:
    back = threading.Event()

    async def sleep(seconds: float) -> None:
        assert seconds == 30
        await asyncio.to_thread(back.wait, 60)

    with RehearsalServer(down=30, sleep=sleep) as server:
        server.open()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
        back.set()
        with connected(server.port) as client:
            assert client.recv(3) == b"220"


def test_who_hangs_up_in_the_middle_harms_nobody() -> None:
    with serving() as server:
        with connected(server.port) as client:
            client.sendall(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: half")
        with smtplib.SMTP("127.0.0.1", server.port) as other:
            other.sendmail("blog@example.org", ["ada@example.org"], MESSAGE)

    assert len(server.taken()) == 1


def test_it_ends_while_somebody_is_connected() -> None:
    with serving(delay=3600) as server:
        client = smtplib.SMTP("127.0.0.1", server.port)
        client.ehlo()

    assert client.sock is not None
    assert client.sock.recv(1) == b""
    client.close()


@contextlib.contextmanager
def serving(**options: Any) -> Iterator[RehearsalServer]:
    with RehearsalServer(**options) as server:
        server.open()
        yield server


def connected(port: int) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
