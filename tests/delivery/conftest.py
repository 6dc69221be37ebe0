"""Real SMTP servers, each named after what it does to a mail, and the small helpers of these tests."""

from __future__ import annotations

import asyncio
import email
import email.policy
import logging
import ssl
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

with warnings.catch_warnings():
    # aiosmtpd asks atpublic's old names for its exports; nothing of ours is imported here.
    warnings.simplefilter("ignore", DeprecationWarning)
    from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage

    from quartblog.delivery import MailOptions

CERTIFICATES = Path(__file__).parent / "certificates"
ADMINS = ("ada@example.org", "grace@example.org", "linus@example.org")


class Peer:
    """An SMTP server on a free port, in a thread with a loop of its own."""

    def __init__(self, make: Callable[[Peer], asyncio.BaseProtocol], **serving: Any) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.connected = threading.Event()
        self.quitting = threading.Event()
        self.release = threading.Event()
        self.logins: list[tuple[bytes, bytes]] = []
        self.was_encrypted: list[bool] = []
        self.greetings: list[str] = []
        self.port = 0
        self._make = make
        self._transports: list[asyncio.BaseTransport] = []
        self._serving = serving
        self.loop: asyncio.AbstractEventLoop | None = None
        self._leave = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        server = await self.loop.create_server(self._connect, "127.0.0.1", 0, **self._serving)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._leave.wait()
        server.close()
        # A connection that has just been accepted becomes one of the transports within a few rounds of the loop.
        for _ in range(5):
            await asyncio.sleep(0)
        for transport in self._transports:
            if isinstance(transport, asyncio.Transport):
                transport.abort()
        # Two rounds of the loop: connections are told of their end in the next one.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _connect(self) -> asyncio.BaseProtocol:
        protocol = self._make(self)
        made = protocol.connection_made

        def connection_made(transport: asyncio.BaseTransport) -> None:
            self._transports.append(transport)
            made(transport)
            self.connected.set()

        protocol.connection_made = connection_made  # type: ignore[method-assign]
        return protocol


class Accepting:
    """An aiosmtpd handler that keeps every mail."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.peer.mails.append(message)
        self.peer.recipients.append(list(envelope.rcpt_tos))
        self.peer.was_encrypted.append(session.ssl is not None)
        self.peer.greetings.append(session.host_name)
        return "250 kept as number one"


class Slow(Accepting):
    """Answers DATA only once the test releases it."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        await asyncio.get_running_loop().run_in_executor(None, self.peer.release.wait)
        return await super().handle_DATA(server, session, envelope)


class Answering(Accepting):
    """Gives one answer to every DATA."""

    def __init__(self, peer: Peer, answer: str) -> None:
        super().__init__(peer)
        self.answer = answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        return self.answer


class RefusingGrace(Accepting):
    """Serves two of the three admins."""

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address.startswith("grace"):
            return "550 nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 OK"


class RefusingAll(Accepting):
    """Gives one answer for every recipient."""

    def __init__(self, peer: Peer, answer: str) -> None:
        super().__init__(peer)
        self.answer = answer

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        return self.answer


class HangingUp(SMTP):
    """Cuts the connection when the mail is about to come."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.abort()


class NotReading(SMTP):
    """Asks for the mail and reads nothing of it."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        assert isinstance(self.transport, asyncio.Transport)
        await self.push("354 go on")
        self.transport.pause_reading()
        await asyncio.Event().wait()


class WithoutFarewell(SMTP):
    """Never answers QUIT."""

    async def smtp_QUIT(self, arg: str) -> None:  # noqa: N802
        self.event_handler.peer.quitting.set()
        await asyncio.Event().wait()


class Closing(SMTP):
    """Goes down for a while: takes nobody's mail, whichever it is."""

    async def smtp_MAIL(self, arg: str) -> None:  # noqa: N802
        await self.push("421 closing for the night")


class OldFashioned(SMTP):
    """Knows HELO alone."""

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802
        await self.push("502 what is EHLO?")


class Particular(SMTP):
    """Does not like the name of its client."""

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802
        await self.push("550 5.7.1 Invalid HELO name")

    smtp_HELO = smtp_EHLO  # noqa: N815


class Moody(Peer):
    """A server that behaves as it is told: "well", "away" (hangs up at once), "silent", "cutting" (hangs up in DATA),
    or with the words its `mood` holds as the answer to DATA. Whom it refuses, `refusing` tells."""

    def __init__(self) -> None:
        super().__init__(self._moodily)
        self.mood = "well"
        self.refusing: dict[str, str] = {}
        self.tries: list[str] = []

    def _moodily(self, _: Peer) -> asyncio.BaseProtocol:
        self.tries.append(self.mood)
        if self.mood == "away":
            return Absence()
        if self.mood == "silent":
            return Silence()
        kind = CuttingShort if self.mood == "cutting" else SMTP
        return kind(Moodily(self), hostname="peer.test", loop=self.loop)


class Moodily(Accepting):
    """What a Moody does with a mail."""

    peer: Moody

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address in self.peer.refusing:
            return self.peer.refusing[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.peer.mood != "well":
            return self.peer.mood
        return await super().handle_DATA(server, session, envelope)


class CuttingShort(SMTP):
    """Hangs up once the mail is on its way."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        await self.push("354 go on")
        await self._reader.readline()
        self.transport.abort()  # type: ignore[union-attr]  # connected by now


class Absence(asyncio.Protocol):
    """Takes nobody's connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.abort()  # type: ignore[attr-defined]  # a TCP transport


class Silence(asyncio.Protocol):
    """Takes the connection and never says a word."""


def speaking(handler: Callable[[Peer], Any], **options: Any) -> Callable[[Peer], SMTP]:
    """What makes aiosmtpd's protocol for a peer."""
    return lambda peer: SMTP(handler(peer), hostname="peer.test", loop=peer.loop, **options)


@pytest.fixture
def accepting_server() -> Iterator[Peer]:
    with Peer(speaking(Accepting)) as peer:
        yield peer


@pytest.fixture
def slow_server() -> Iterator[Peer]:
    with Peer(speaking(Slow)) as peer:
        yield peer


@pytest.fixture
def silent_server() -> Iterator[Peer]:
    with Peer(lambda _: Silence()) as peer:
        yield peer


@pytest.fixture
def server_that_says_later() -> Iterator[Peer]:
    with Peer(speaking(lambda peer: Answering(peer, "451 come back later"))) as peer:
        yield peer


@pytest.fixture
def server_that_says_never() -> Iterator[Peer]:
    with Peer(speaking(lambda peer: Answering(peer, "554 we do not want this"))) as peer:
        yield peer


@pytest.fixture
def server_without_grace() -> Iterator[Peer]:
    with Peer(speaking(RefusingGrace)) as peer:
        yield peer


@pytest.fixture
def server_that_hangs_up() -> Iterator[Peer]:
    with Peer(lambda peer: HangingUp(Accepting(peer), loop=peer.loop)) as peer:
        yield peer


@pytest.fixture
def server_that_stops_reading() -> Iterator[Peer]:
    with Peer(lambda peer: NotReading(Accepting(peer), hostname="peer.test", loop=peer.loop)) as peer:
        yield peer


@pytest.fixture
def server_without_farewell() -> Iterator[Peer]:
    with Peer(lambda peer: WithoutFarewell(Accepting(peer), loop=peer.loop)) as peer:
        yield peer


@pytest.fixture
def moody_server() -> Iterator[Moody]:
    with Moody() as peer:
        yield peer


@pytest.fixture
def server_that_is_closing() -> Iterator[Peer]:
    with Peer(lambda peer: Closing(Accepting(peer), loop=peer.loop)) as peer:
        yield peer


@pytest.fixture
def server_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem")
    return context


@pytest.fixture
def trusted_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system trusts the certificate of these servers."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "authority.pem"))


@pytest.fixture
def starttls_server(server_certificate: ssl.SSLContext) -> Iterator[Peer]:
    with Peer(
        speaking(
            Accepting,
            tls_context=server_certificate,
            require_starttls=True,
            **signing_in(),
        )
    ) as peer:
        yield peer


@pytest.fixture
def implicit_tls_server(server_certificate: ssl.SSLContext) -> Iterator[Peer]:
    with Peer(speaking(Accepting), ssl=server_certificate) as peer:
        yield peer


@pytest.fixture
def server_with_password() -> Iterator[Peer]:
    # Without TLS, as on a laptop: aiosmtpd warns of that, once for each connection.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with Peer(speaking(Accepting, auth_require_tls=False, **signing_in())) as peer:
            yield peer


def signing_in() -> dict[str, Any]:
    """One account: ada, whose password is lovelace."""

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and data == LoginPassword(b"ada", b"lovelace")
        if known:
            server.event_handler.peer.logins.append((data.login, data.password))
        return AuthResult(success=known, handled=False)

    return {"authenticator": check, "auth_required": True}


@pytest.fixture
def mail_to() -> Callable[..., MailOptions]:
    """Mail options for a peer, changed as asked."""
    from quartblog.delivery import MailOptions  # noqa: PLC0415  collected without it on purpose

    def options(peer: Peer, **changes: Any) -> MailOptions:
        values: dict[str, Any] = {
            "server": "127.0.0.1",
            "port": peer.port,
            "sender": "blog@example.org",
            "admins": ADMINS,
            "timeout": 10.0,
            "site": "微博",
        }
        return MailOptions(**(values | changes))

    return options


class Kept(logging.Handler):
    """A sink that keeps what it is given."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def app_logger() -> Iterator[logging.Logger]:
    """A logger of an application, with no handler but the root's."""
    logger = logging.getLogger("tests.delivery.app")
    yield logger
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


@pytest.fixture
def failure() -> BaseException:
    """An exception that was raised and caught."""
    try:
        int("twelve")
    except ValueError as error:
        return error
    raise AssertionError("twelve is a number now")
