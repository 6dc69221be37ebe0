"""SMTP session -> a real mail server in a thread of the test -> the mails it received.

`python -m tests.support.smtp 8025` prints the mails that arrive on that port of this machine, until Ctrl-C.
"""

import asyncio
import itertools
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import Any, Self

with warnings.catch_warnings():
    # aiosmtpd uses deprecated names of atpublic.
    warnings.simplefilter("ignore", DeprecationWarning)
    from aiosmtpd.smtp import SMTP

# Seconds a mail may take to arrive.
PATIENCE = 60.0


@dataclass(frozen=True)
class Mail:
    """One mail as the server accepted it."""

    recipients: tuple[str, ...]
    message: EmailMessage
    sender: str
    """The sender of the envelope."""

    @property
    def subject(self) -> str:
        """The subject, decoded."""
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        """The body as plain text, decoded."""
        body = self.message.get_body(["plain"])
        assert body is not None
        return str(body.get_content()).replace("\r\n", "\n")


class MailServer:
    """Accepts mail on a port of 127.0.0.1 during the block; port 0 selects a free one.

    `holding`: the server acknowledges a complete mail only after `release()`, like a slow server.
    """

    def __init__(self, port: int = 0, *, holding: bool = False) -> None:
        self.port = port
        self._mails: list[Mail] = []
        self._changed = threading.Condition()
        self._holding = holding
        self._held = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listening = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def mails(self) -> list[Mail]:
        """The mails acknowledged so far."""
        with self._changed:
            return list(self._mails)

    @property
    def settings(self) -> dict[str, object]:
        """The [mail] section for this server."""
        return {"server": "127.0.0.1", "port": self.port, "admins": ["ada@example.org", "grace@example.org"]}

    def wait_for(self, count: int, *, patience: float | None = PATIENCE) -> list[Mail]:
        """Wait until the server has accepted `count` mails; return all of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._mails) >= count, patience), f"{len(self._mails)} mails"
            return list(self._mails)

    def wait_until_held(self) -> None:
        """Wait until a sender waits for an acknowledgement."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._held > 0, PATIENCE), "no mail came in"

    def release(self) -> None:
        """Acknowledge the held mails, and all later ones at once."""
        with self._changed:
            self._holding = False
            self._changed.notify_all()

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Accept a complete mail; aiosmtpd calls this."""
        message = message_from_bytes(envelope.content, policy=default)
        await asyncio.to_thread(self._take, Mail(tuple(envelope.rcpt_tos), message, envelope.mail_from))
        return "250 taken"

    def _take(self, mail: Mail) -> None:
        with self._changed:
            self._held += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._holding)
            self._held -= 1
            self._mails.append(mail)
            self._changed.notify_all()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: SMTP(self, hostname="localhost", loop=self._loop), "127.0.0.1", self.port)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())


@contextmanager
def silent_server() -> Iterator[int]:
    """Give a port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield listening.getsockname()[1]


@contextmanager
def dead_server() -> Iterator[int]:
    """Give a port that refuses connections and that no other program can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def print_mails(port: int) -> None:
    """Print each mail as it arrives."""
    with MailServer(port) as server:
        print(f"Printing the mail for 127.0.0.1:{server.port} (Ctrl-C stops)", flush=True)
        for count in itertools.count(1):
            mail = server.wait_for(count, patience=None)[count - 1]
            print(f"\nTo: {', '.join(mail.recipients)}\nSubject: {mail.subject}\n\n{mail.text}", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        print_mails(int(sys.argv[1]))
