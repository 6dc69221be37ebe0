"""A real SMTP server in a thread of the test: what it took can be read, and it can be as slow as the test wants.

`python -m tests.support.smtp 8025` prints what arrives on that port of this machine, until Ctrl-C.
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
    # aiosmtpd asks atpublic's old names for its exports; nothing of ours is imported here.
    warnings.simplefilter("ignore", DeprecationWarning)
    from aiosmtpd.smtp import SMTP

# Seconds a mail may take to arrive: a bound for one that never comes.
PATIENCE = 60.0


@dataclass(frozen=True)
class Mail:
    """One mail as the server took it."""

    recipients: tuple[str, ...]
    message: EmailMessage
    sender: str
    """As the envelope has it."""

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
    """Takes mail on a port of 127.0.0.1, a free one where 0 is given, while the block runs.

    `holding`: a mail that has come in whole is not acknowledged before `release()`, like a server that takes long.
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
        """What has been acknowledged so far."""
        with self._changed:
            return list(self._mails)

    @property
    def settings(self) -> dict[str, object]:
        """The [mail] section that leads here."""
        return {"server": "127.0.0.1", "port": self.port, "admins": ["ada@example.org", "grace@example.org"]}

    def wait_for(self, count: int, *, patience: float | None = PATIENCE) -> list[Mail]:
        """Wait until so many mails have been taken; return all there are."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._mails) >= count, patience), f"{len(self._mails)} mails"
            return list(self._mails)

    def wait_until_held(self) -> None:
        """Wait until a sender waits for the acknowledgement of its mail."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._held > 0, PATIENCE), "no mail came in"

    def release(self) -> None:
        """Acknowledge what is held, and what comes from now on."""
        with self._changed:
            self._holding = False
            self._changed.notify_all()

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Called by aiosmtpd with a complete mail."""
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
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield listening.getsockname()[1]


@contextmanager
def dead_server() -> Iterator[int]:
    """A port that refuses connections, and that nobody else can get meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def print_mails(port: int) -> None:
    """Print each mail as a reader would see it."""
    with MailServer(port) as server:
        print(f"Mail for 127.0.0.1:{server.port} is shown here (Ctrl-C ends it)", flush=True)
        for count in itertools.count(1):
            mail = server.wait_for(count, patience=None)[count - 1]
            print(f"\nTo: {', '.join(mail.recipients)}\nSubject: {mail.subject}\n\n{mail.text}", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        print_mails(int(sys.argv[1]))
