"""A finished message -> one SMTP session -> the server's answer, or MailFailed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING

import aiosmtplib
from aiosmtplib.email import parse_address

from ..text.escaping import one_line, shortened
from .addresses import ascii_host, bare_address
from .connect import CannotTrust, connect, trust
from .message import wire_form
from .refusals import as_text, is_final, is_too_big

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from ..options import MailOptions

QUIT_TIMEOUT = 1.0
"""Seconds that the server has to answer QUIT, after it has accepted the mail."""
CLOSING, SIGN_IN_FIRST = 421, 530
"""Answers that can come to any command and are not about the mail."""
NOT_ALLOWED = 553
"""The reply code for an address that the server could not take, and that `send` therefore does not name to it."""
HINTS = (
    '; where it wants TLS from the first byte, as on port 465, set tls to "implicit"',
    '; where it begins in plain text, as on port 587 or 25, set tls to "starttls" or "none"',
)
"""For a session that does not even begin: without TLS from the first byte, and with it."""
WITHOUT_SMTPUTF8 = "does not support SMTPUTF8, which"

_SIZE = re.compile(r"\s*([0-9]{1,20})\s*")  # RFC 1870 allows 20 digits.
_DOT = re.compile(rb"^\.", re.MULTILINE)


class MailFailed(Exception):
    """The server accepted the message for no recipient. The text is one sentence for the operator."""

    def __init__(  # noqa: PLR0913  keywords, each is one fact
        self,
        reason: str,
        *,
        permanent: bool = False,
        unavailable: bool = False,
        too_big: bool = False,
        most: int | None = None,
        refused: Mapping[str, str] | None = None,
        final: AbstractSet[str] = frozenset(),
    ) -> None:
        """`permanent` means that a later try fails in the same way, unless an operator changes something."""
        super().__init__(reason)
        self.permanent = permanent
        self.too_big = too_big
        """Whether the server would accept a shorter mail."""
        self.most = most
        """Bytes that the server accepts at most, if it has announced them."""
        self.unavailable = unavailable
        """Whether the server accepts no mail at all now: it is away, fails, or does not serve this client."""
        self.refused = refused or {}
        """Recipients that the server refused one by one, each with its answer."""
        self.final = final  # As in Receipt.


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server's answer to an accepted message."""

    answer: str
    """The server's reply after the message."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Refused recipients, with the server's answer, or with 553 and the reason if it cannot take such an address."""
    final: AbstractSet[str] = frozenset()
    """Those of them that the server will refuse again later. All others get the mail."""


async def send(
    message: EmailMessage | bytes,
    options: MailOptions,
    recipients: Sequence[str] | None = None,
    *,
    check: Callable[[], object] | None = None,
) -> Receipt:
    """Send the message in a session of its own, within `options.timeout` seconds altogether.

    It goes to the recipients, or to all admins. A message in bytes is not changed. Raise MailFailed if no recipient was
    accepted, whatever the cause. `send` calls `check` right before it hands the mail over; an exception of `check` ends
    the session without the mail.
    """
    if options.problem is not None:
        raise MailFailed(options.problem, permanent=True, unavailable=True)
    session = _Session(options)  # A new one each time, because a cancelled client never releases its lock.
    try:
        async with asyncio.timeout(options.timeout):
            await session.open()
            if check is not None:
                check()
            refused, answer = await session.hand_over(message, recipients or options.admins)
    except (OSError, aiosmtplib.SMTPException, ValueError, _TooBig) as error:
        session.break_off()
        raise session.failure(error) from error
    except BaseException:
        session.break_off()
        raise
    await session.quit()
    return Receipt(_server_words(as_text(answer.message), options), _answers(refused, options), _final(refused))


class _TooBig(Exception):
    """The mail is longer than the size that the server has announced."""

    def __init__(self, most: int, size: int) -> None:
        super().__init__(f"takes {most} bytes at most, and the mail has {size}")
        self.most = most


class _Session:
    """One connection to the server, and its progress."""

    def __init__(self, options: MailOptions) -> None:
        self.ready = False
        """Whether the server would take a mail now."""
        self._options = options
        self._hint = ""
        """What may be wrong with the settings if the session ends now."""
        self._transport: asyncio.BaseTransport | None = None
        self._client = aiosmtplib.SMTP(
            hostname=ascii_host(options.server) or options.server,
            local_hostname=_own_name(options),
            # `send` bounds the session. The client's own timeouts would lose its cancellation (wait_for, Python 3.11).
            timeout=None,
            use_tls=options.tls == "implicit",
            # Not None, with which the client encrypts only if the server offers it.
            start_tls=False,
        )

    async def open(self) -> None:
        """Connect, encrypt and sign in."""
        options, client = self._options, self._client
        if options.tls != "none":
            # Here, because the client would read the certificates in a thread that the interpreter's end joins.
            client.tls_context = await trust(options.ca_file)
        opened = await connect(str(client.hostname), options.port)
        self._hint = HINTS[options.tls == "implicit"]
        try:
            await client.connect(sock=opened)
        except BaseException:
            opened.close()  # A client that is cancelled before its first step leaves it open.
            raise
        self._hint = ""
        self._transport = client.transport
        if options.tls == "starttls":
            await client.starttls()
            self._transport = client.transport
        if options.username:
            await client.login(options.username, options.password)
        if client.is_ehlo_or_helo_needed:
            await self._greet()
        sender = bare_address(options.sender)
        if not sender.isascii() and not client.supports_extension("smtputf8"):
            raise aiosmtplib.SMTPNotSupported(f"it {WITHOUT_SMTPUTF8} the sender's address {sender} needs")
        self.ready = True

    async def _greet(self) -> None:
        try:
            await self._client.ehlo()
        except aiosmtplib.SMTPHeloError:
            if not self._client.is_connected:
                raise
            await self._client.helo()  # A server without ESMTP.

    async def hand_over(
        self, message: EmailMessage | bytes, recipients: Sequence[str]
    ) -> tuple[list[aiosmtplib.SMTPRecipientRefused], aiosmtplib.SMTPResponse]:
        """Send the mail. Return the refusals of single recipients, and the answer for the others."""
        client, extensions = self._client, self._client.esmtp_extensions
        data = wire_form(message) if isinstance(message, EmailMessage) else message
        data = b"".join(line + b"\r\n" for line in data.splitlines())
        bound = _SIZE.fullmatch(extensions.get("size", ""))
        if bound is not None and 0 < int(bound[1]) < len(data):
            raise _TooBig(int(bound[1]), len(data))
        sender, envelope = bare_address(self._options.sender), [*map(bare_address, recipients)]
        parameters = [f"SIZE={len(data)}"] if "size" in extensions else []
        if "smtputf8" in extensions and not (data.isascii() and "".join((sender, *envelope)).isascii()):
            parameters.append("SMTPUTF8")
        await _accepted(client.mail(sender, options=parameters, encoding="utf-8"))
        refused = []
        for address in envelope:
            try:
                await self._add(address)
            except aiosmtplib.SMTPRecipientRefused as error:
                if error.code == CLOSING:
                    raise
                refused.append(error)
        if len(refused) == len(envelope):
            raise aiosmtplib.SMTPRecipientsRefused(refused)
        if "smtputf8" not in extensions and not data.isascii():
            raise aiosmtplib.SMTPNotSupported(f"it {WITHOUT_SMTPUTF8} headers of the mail need")
        return refused, await self._transfer(data)

    async def _add(self, address: str) -> None:
        """Add a recipient. Raise SMTPRecipientRefused if the server refuses it, or could not take such an address."""
        if not _is_mailbox(address):
            words = "5.1.3 this is no mail address"
        elif not address.isascii() and not self._client.supports_extension("smtputf8"):
            words = f"5.6.7 the server {WITHOUT_SMTPUTF8} this address needs"
        else:
            await _accepted(self._client.rcpt(address, encoding="utf-8"))
            return
        raise aiosmtplib.SMTPRecipientRefused(NOT_ALLOWED, words, address)

    async def _transfer(self, data: bytes) -> aiosmtplib.SMTPResponse:
        """Send the bytes of the mail, and return the server's answer to it."""
        # Not with the client's own `data`, to which only 250 is a success and which does not say what was answered:
        # a success before the mail was sent means nothing.
        protocol = self._client.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        reply = await protocol.execute_command(b"DATA")
        if reply.code // 100 != 3:
            raise aiosmtplib.SMTPDataError(reply.code, reply.message)
        protocol.write(_DOT.sub(b"..", data) + b".\r\n")
        reply = await protocol.read_response()
        if reply.code // 100 != 2:
            raise aiosmtplib.SMTPDataError(reply.code, reply.message)
        return reply

    def break_off(self) -> None:
        """End the session now. `close` alone would keep it open while the server does not read."""
        # Kept in this object, because the client drops its transport at the first failure.
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()
        self._client.close()

    async def quit(self) -> None:
        """End the session with QUIT. The message is delivered, so no error here may count as its failure."""
        try:
            with contextlib.suppress(OSError, aiosmtplib.SMTPException):
                async with asyncio.timeout(QUIT_TIMEOUT):
                    await self._client.quit()
        except asyncio.CancelledError:
            # The caller must learn that the mail is delivered; its task then ends at its next await.
            if (task := asyncio.current_task()) is not None:
                task.cancel()
        # `close` alone would wait for the server's end of TLS, which may outlast the event loop.
        self.break_off()

    def failure(self, error: Exception) -> MailFailed:
        """Return what the error means for the mail, which was not sent."""
        replies = _replies(error)
        too_big = isinstance(error, _TooBig) or (bool(replies) and all(is_too_big(_answer(one)) for one in replies))
        unavailable = (
            not self.ready
            or isinstance(error, OSError)
            # Every mail has this sender, so a mail that died of it would be one of all mails.
            or (isinstance(error, aiosmtplib.SMTPSenderRefused) and not too_big)
            or any(reply.code in {CLOSING, SIGN_IN_FIRST} for reply in replies)
        )
        refused = [reply for reply in replies if isinstance(reply, aiosmtplib.SMTPRecipientRefused)]
        return MailFailed(
            _without_secrets(self._sentence(error), self._options),
            permanent=_is_permanent(error),
            unavailable=unavailable,
            too_big=too_big,
            most=error.most if isinstance(error, _TooBig) else None,
            refused=_answers([] if unavailable else refused, self._options),
            final=_final(refused),
        )

    def _sentence(self, error: Exception) -> str:
        options = self._options
        where = f"{options.server}:{options.port}"
        wrapped = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) else None
        cause = wrapped or error
        # These show that the server had begun the session as it was to.
        hint = (
            "" if isinstance(cause, (aiosmtplib.SMTPConnectResponseError, ssl.SSLCertVerificationError)) else self._hint
        )
        if isinstance(cause, TimeoutError):
            return f"{where} did not finish within {options.timeout:g} s{hint}"
        if isinstance(cause, aiosmtplib.SMTPException):
            return f"{where} {_server_reason(cause)}{hint}"
        if isinstance(cause, CannotTrust):
            return str(cause)
        if isinstance(cause, OSError):
            return f"{where} {_network_reason(cause)}{hint}"
        if isinstance(cause, _TooBig):
            return f"{where} {cause}"
        return f"the mail cannot be encoded for SMTP: {cause}"


def _own_name(options: MailOptions) -> str:
    """Return the name for EHLO: the one in the options, else this host's if it has a dot, else the sender's domain."""
    domain = options.sender.rpartition("@")[2].rstrip(">"), "."
    for name, dot in ((options.local_hostname, ""), (socket.gethostname(), "."), domain):
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(name.strip("[]").removeprefix("IPv6:"))
            return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
        if (host := ascii_host(name)) is not None and dot in host:
            return host
    return "[127.0.0.1]"


async def _accepted(command: Awaitable[aiosmtplib.SMTPResponse]) -> None:
    """Await a command of the client, and accept every reply of success: it knows fewer than RFC 5321 allows."""
    try:
        await command
    except aiosmtplib.SMTPResponseException as error:
        if error.code // 100 != 2:
            raise


def _is_mailbox(address: str) -> bool:
    """Return whether the client would send the address as it is: it drops comments, for example."""
    with contextlib.suppress(ValueError):
        return address.isprintable() and parse_address(address) == address
    return False


def _server_reason(error: aiosmtplib.SMTPException) -> str:
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            return f"did not accept the user name and password: {_answer(error)}"
        case aiosmtplib.SMTPRecipientsRefused(recipients=recipients):
            return f"refused every recipient: {'; '.join(f'{one.recipient}: {_answer(one)}' for one in recipients)}"
        case aiosmtplib.SMTPSenderRefused(sender=sender):
            return f"refused the sender {sender}: {_answer(error)}"
        case aiosmtplib.SMTPResponseException():
            return f"refused the mail: {_answer(error)}"
        case aiosmtplib.SMTPServerDisconnected() | aiosmtplib.SMTPConnectError():
            return f"hung up: {error.message}"
    return f"cannot take the mail: {error.message}"


def _network_reason(error: OSError) -> str:
    match error:
        case socket.gaierror():
            return f"cannot be found, its name is unknown (DNS): {error.strerror}"
        case ssl.SSLCertVerificationError():
            return f"has no certificate that can be trusted (TLS): {error.verify_message}"
        case ssl.SSLError():
            return f"does not speak TLS here: {error.reason}"
        case ConnectionRefusedError():
            return "refused the connection: no server listens there"
    return f"cannot be reached: {error}"


def _is_permanent(error: Exception) -> bool:
    if replies := _replies(error):
        to_recipient = isinstance(error, aiosmtplib.SMTPRecipientsRefused)
        return all(is_final(_answer(reply), to_recipient=to_recipient) for reply in replies)
    return isinstance(error, (ValueError, aiosmtplib.SMTPNotSupported, _TooBig))


def _replies(error: Exception) -> Sequence[aiosmtplib.SMTPResponseException]:
    """Return the server's replies that the error consists of, if it has any."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return error.recipients
    return [error] if isinstance(error, aiosmtplib.SMTPResponseException) else []


def _answer(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {as_text(error.message)}"


def _final(refused: Sequence[aiosmtplib.SMTPRecipientRefused]) -> AbstractSet[str]:
    return {one.recipient for one in refused if is_final(_answer(one))}


def _answers(refused: Sequence[aiosmtplib.SMTPRecipientRefused], options: MailOptions) -> dict[str, str]:
    return {one.recipient: _server_words(_answer(one), options) for one in refused}


def _without_secrets(sentence: str, options: MailOptions) -> str:
    """Return the sentence on one line, without the password, which a server may echo in plain text or base64."""
    if options.password:
        secret = options.password.encode()
        plain = b"\0" + options.username.encode() + b"\0" + secret
        for spelling in (
            base64.b64encode(plain).decode(),
            base64.b64encode(secret).decode(),
            options.password,
        ):
            sentence = sentence.replace(spelling, "***")
    return shortened(one_line(sentence), 500)


def _server_words(text: str, options: MailOptions) -> str:
    return shortened(_without_secrets(text, options), 300)
