"""SMTP session -> a real mail server in a thread of the test -> the mails it received.

`python -m tests.support.smtp 8025` prints the mails that arrive on that port of this machine, until Ctrl-C.
"""

import asyncio
import itertools
import socket
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ssl import SSLContext
from typing import Any, ClassVar, Self, TypeAlias

with warnings.catch_warnings():
    # aiosmtpd uses deprecated names of atpublic.
    warnings.simplefilter("ignore", DeprecationWarning)
    from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

# Seconds a mail may take to arrive.
PATIENCE = 60.0


@dataclass(frozen=True)
class Mail:
    """One mail as the server accepted it."""

    recipients: tuple[str, ...]
    message: EmailMessage
    sender: str
    """The sender of the envelope."""
    greeting: str
    """The name that the client gave in EHLO or HELO."""
    encrypted: bool

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


class Accepting(SMTP):
    """Accepts every mail."""


class HangingUp(SMTP):
    """Closes the connection at DATA."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        self.transport.abort()  # type: ignore[union-attr]  # connected by now


class CuttingShort(SMTP):
    """Closes the connection after the first line of a mail."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        await self.push("354 go on")
        await self._reader.readline()
        self.transport.abort()  # type: ignore[union-attr]  # connected by now


class NotReading(SMTP):
    """Asks for the mail and reads nothing of it."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        await self.push("354 go on")
        self.transport.pause_reading()  # type: ignore[union-attr]  # connected by now
        await asyncio.Event().wait()


class WithoutFarewell(SMTP):
    """Never answers QUIT."""

    async def smtp_QUIT(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        self.event_handler.quitting.set()
        await asyncio.Event().wait()


class ShuttingDown(SMTP):
    """Answers every MAIL as a server does that is going down."""

    async def smtp_MAIL(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        await self.push("421 closing for the night")


class OldFashioned(SMTP):
    """Knows HELO alone."""

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - aiosmtpd's name
        await self.push("502 what is EHLO?")


class Particular(SMTP):
    """Refuses the name of its client."""

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - aiosmtpd's name
        await self.push("550 5.7.1 Invalid HELO name")

    smtp_HELO = smtp_EHLO  # noqa: N815 - aiosmtpd's name


class Away(asyncio.Protocol):
    """Closes every connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it; asyncio calls this."""
        transport.abort()  # type: ignore[attr-defined]  # a TCP transport


class Silent(asyncio.Protocol):
    """Accepts connections and never answers."""


class Scripted(asyncio.Protocol):
    """Answers by the script of its class. A connection ends after 221 and 421."""

    script: ClassVar[Mapping[str, Sequence[str | bytes]]]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the banner; asyncio calls this."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._given: Counter[str] = Counter()
        self._unread = b""
        self._in_mail = False
        self._answer("banner")

    def data_received(self, data: bytes) -> None:
        """Answer each complete line, and a mail once; asyncio calls this."""
        *lines, self._unread = (self._unread + data).split(b"\r\n")
        for line in lines:
            if not self._in_mail:
                self._answer(line[:4].decode().upper())
            elif line == b".":
                self._in_mail = False
                self._answer(".")

    def _answer(self, to: str) -> None:
        answers = self.script.get(to, ["250 OK"])
        answer = answers[min(self._given[to], len(answers) - 1)]
        self._given[to] += 1
        line = answer if isinstance(answer, bytes) else answer.encode()
        self._transport.write(line + b"\r\n")
        self._in_mail = line.startswith(b"354")
        if line.startswith((b"221", b"421")):
            self._transport.close()


def scripted(script: Mapping[str, Sequence[str | bytes]]) -> type[Scripted]:
    """Return the behaviour of a server that gives these answers, by command of four letters.

    Several answers to one command are given in turn, the last of them again and again. "banner" is for the beginning of
    the session, and "." for the end of a mail. The server accepts what the script does not contain.
    """
    script = {"banner": ["220 mail.example.org"], "DATA": ["354 go on"], "QUIT": ["221 bye"], **script}
    return type("Scripted", (Scripted,), {"script": script})


Behaviour: TypeAlias = type[SMTP] | type[asyncio.Protocol] | str


class MailServer:
    """Runs on a port of 127.0.0.1 during the block; port 0 selects a free one.

    `behaviour`: one of the classes above, `scripted(...)`, or the answer to every mail. A test may assign another one
    at any time.
    `refusing`: recipients, each with the answer to it.
    `holding`: the server acknowledges a complete mail only after `release()`, like a slow server.
    `tls`: the server encrypts from the first byte on. `options` go to aiosmtpd.
    """

    def __init__(
        self,
        behaviour: Behaviour = Accepting,
        *,
        port: int = 0,
        refusing: Mapping[str, str] | None = None,
        holding: bool = False,
        tls: SSLContext | None = None,
        tls_seconds: float | None = None,
        **options: Any,
    ) -> None:
        self.port = port
        self.behaviour = behaviour
        self.refusing = refusing or {}
        self.connections: list[Behaviour] = []
        """How the server treated each connection."""
        self.connected = threading.Event()
        self.quitting = threading.Event()
        self.logins: list[tuple[bytes, bytes]] = []
        self._mails: list[Mail] = []
        self._changed = threading.Condition()
        self._holding = holding
        self._held = 0
        self._tls: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": tls_seconds}
        self._options = options
        self._transports: list[asyncio.Transport] = []
        self._loop: asyncio.AbstractEventLoop
        self._leave = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def mails(self) -> list[Mail]:
        """The mails acknowledged so far."""
        with self._changed:
            return list(self._mails)

    @property
    def messages(self) -> list[EmailMessage]:
        """The messages of these mails."""
        return [mail.message for mail in self.mails]

    @property
    def recipients(self) -> list[list[str]]:
        """The recipients of each of these mails."""
        return [list(mail.recipients) for mail in self.mails]

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

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: object, session: object, envelope: Any, address: str, options: object
    ) -> str:
        """Accept or refuse one recipient; aiosmtpd calls this."""
        if address in self.refusing:
            return self.refusing[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: object, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Accept or refuse a complete mail; aiosmtpd calls this."""
        if isinstance(self.behaviour, str):
            return self.behaviour
        message = message_from_bytes(envelope.content, policy=default)
        recipients, encrypted = tuple(envelope.rcpt_tos), session.ssl is not None
        await asyncio.to_thread(self._take, Mail(recipients, message, envelope.mail_from, session.host_name, encrypted))
        return "250 taken"

    def _take(self, mail: Mail) -> None:
        with self._changed:
            self._held += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._holding)
            self._held -= 1
            self._mails.append(mail)
            self._changed.notify_all()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(self._connect, "127.0.0.1", self.port, **self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._leave.wait()
        server.close()
        # A connection that has just been accepted becomes one of the transports within a few rounds of the loop.
        for _ in range(5):
            await asyncio.sleep(0)
        for transport in self._transports:
            transport.abort()
        # The protocols learn of the end in the next round of the loop, and their tasks end in the one after it.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _connect(self) -> asyncio.BaseProtocol:
        self.connections.append(self.behaviour)
        kind = Accepting if isinstance(self.behaviour, str) else self.behaviour
        protocol = (
            kind(self, hostname="localhost", loop=self._loop, **self._options) if issubclass(kind, SMTP) else kind()
        )
        made = protocol.connection_made

        def connection_made(transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self._transports.append(transport)
            made(transport)
            self.connected.set()

        protocol.connection_made = connection_made  # type: ignore[method-assign]
        return protocol


def _check(server: Any, session: object, envelope: object, mechanism: str, data: Any) -> AuthResult:
    known = isinstance(data, LoginPassword) and data == LoginPassword(b"ada", b"lovelace")
    if known:
        server.event_handler.logins.append((data.login, data.password))
    return AuthResult(success=known, handled=False)


ACCOUNT: dict[str, Any] = {"authenticator": _check, "auth_required": True}
"""Options of a server with one account: ada, whose password is lovelace."""


@contextmanager
def silent_server() -> Iterator[int]:
    """Give a port that accepts connections and never answers."""
    with MailServer(Silent) as server:
        yield server.port


@contextmanager
def dead_server() -> Iterator[int]:
    """Give a port that refuses connections and that no other program can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def print_mails(port: int) -> None:
    """Print each mail as it arrives."""
    with MailServer(port=port) as server:
        print(f"Printing the mail for 127.0.0.1:{server.port} (Ctrl-C stops)", flush=True)
        for count in itertools.count(1):
            mail = server.wait_for(count, patience=None)[count - 1]
            print(f"\nTo: {', '.join(mail.recipients)}\nSubject: {mail.subject}\n\n{mail.text}", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        print_mails(int(sys.argv[1]))
