"""A finished message -> one SMTP session -> the server's answer, or MailFailed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import socket
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING

import aiosmtplib

from ..text.escaping import one_line, shortened
from .addresses import ascii_host, bare_address
from .connect import connect, in_thread
from .message import wire_form
from .refusals import is_final, is_too_big

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ..options import MailOptions

QUIT_TIMEOUT = 1.0
"""Seconds that the server has to answer QUIT, after it has accepted the mail."""
CLOSING, SIGN_IN_FIRST = 421, 530
"""Answers that can come to any command and are not about the mail."""


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


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server's answer to an accepted message."""

    answer: str
    """The server's reply after the message."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Refused recipients, each with the server's answer; the others get the mail."""


def refused_for_good(refused: Mapping[str, str]) -> dict[str, str]:
    """Return the refused recipients that the server will refuse again later."""
    return {address: answer for address, answer in refused.items() if is_final(answer)}


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
    # A new client each time, because a cancelled one never releases its lock.
    session = _Session(options)
    try:
        async with asyncio.timeout(options.timeout):
            await session.open()
            if check is not None:
                check()
            refused, answer = await session.hand_over(message, recipients or options.admins)
    except (OSError, aiosmtplib.SMTPException, ValueError, _TooBig) as error:
        session.break_off()
        raise MailFailed(
            _without_secrets(session.explain(error), options),
            permanent=_is_permanent(error),
            unavailable=not session.ready or _is_about_the_server(error),
            too_big=_is_too_big(error),
            most=error.most if isinstance(error, _TooBig) else None,
            refused=_refusals(error, options),
        ) from error
    except BaseException:
        session.break_off()
        raise
    await session.quit()
    return Receipt(
        _server_words(answer, options),
        {address: f"{reply.code} {_server_words(reply.message, options)}" for address, reply in refused.items()},
    )


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
        self._connected = self._greeted = False
        self._transport: asyncio.BaseTransport | None = None
        self._client = aiosmtplib.SMTP(
            hostname=ascii_host(options.server) or options.server,
            local_hostname=_own_name(options.local_hostname),
            timeout=options.timeout,
            use_tls=options.tls == "implicit",
            # Not None, with which the client encrypts only if the server offers it.
            start_tls=False,
        )

    async def open(self) -> None:
        """Connect, encrypt and sign in."""
        options, client = self._options, self._client
        if options.tls != "none":
            # Here, because the client would read the certificates in a thread that the interpreter's end joins.
            client.tls_context = await in_thread(lambda: _trust(options.ca_file))
        opened = await connect(str(client.hostname), options.port)
        self._connected = True
        try:
            await client.connect(sock=opened)
        except BaseException:
            opened.close()  # A client that is cancelled before its first step leaves it open.
            raise
        self._greeted = True
        self._transport = client.transport
        if options.tls == "starttls":
            await client.starttls()
            self._transport = client.transport
        if options.username:
            await client.login(options.username, options.password)
        if client.is_ehlo_or_helo_needed:
            await self._greet()
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
    ) -> tuple[dict[str, aiosmtplib.SMTPResponse], str]:
        """Send the mail. Return the refused recipients with their answers, and the answer for the others."""
        client = self._client
        data = wire_form(message) if isinstance(message, EmailMessage) else message
        sender, envelope = bare_address(self._options.sender), [*map(bare_address, recipients)]
        bound = client.esmtp_extensions.get("size", "").strip()
        if bound.isdecimal() and 0 < int(bound) < len(data):
            raise _TooBig(int(bound), len(data))
        plain = data.isascii() and sender.isascii() and all(address.isascii() for address in envelope)
        return await client.sendmail(sender, envelope, data, mail_options=[] if plain else ["SMTPUTF8"])

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

    def explain(self, error: Exception) -> str:
        """Return why the mail was not sent, as a sentence."""
        options = self._options
        where = f"{options.server}:{options.port}"
        wrapped = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) else None
        cause = wrapped or error
        hint = ""
        if self._connected and not self._greeted and options.tls != "implicit":
            hint = '; where it wants TLS from the first byte, as on port 465, set tls to "implicit"'
        if isinstance(cause, TimeoutError):
            return f"{where} did not finish within {options.timeout:g} s{hint}"
        if isinstance(cause, aiosmtplib.SMTPException):
            return f"{where} {_server_reason(cause)}{hint}"
        if isinstance(cause, _CannotTrust):
            return f"the certificates in ca_file, {options.ca_file}, cannot be used: {cause}"
        if isinstance(cause, OSError):
            return f"{where} {_network_reason(cause)}{hint}"
        if isinstance(cause, _TooBig):
            return f"{where} {cause}"
        return f"the mail cannot be encoded for SMTP: {cause}"


class _CannotTrust(OSError):
    """The file of certificates cannot be read."""


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the authorities of the system and of the file."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError.
            raise _CannotTrust(str(error)) from error
    return context


def _own_name(wanted: str) -> str:
    """Return the name for EHLO: `wanted`, else this host's name if it is a domain, else an address literal."""
    for name, dot in ((wanted, ""), (socket.gethostname(), ".")):
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(name.strip("[]").removeprefix("IPv6:"))
            return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
        host = ascii_host(name)
        if host is not None and dot in host:
            return host
    return "[127.0.0.1]"


def _server_reason(error: aiosmtplib.SMTPException) -> str:
    match error:
        case aiosmtplib.SMTPAuthenticationError(code=code, message=message):
            return f"did not accept the user name and password: {code} {message}"
        case aiosmtplib.SMTPRecipientsRefused(recipients=recipients):
            answers = "; ".join(f"{one.recipient}: {one.code} {one.message}" for one in recipients)
            return f"refused every recipient: {answers}"
        case aiosmtplib.SMTPSenderRefused(code=code, message=message, sender=sender):
            return f"refused the sender {sender}: {code} {message}"
        case aiosmtplib.SMTPResponseException(code=code, message=message):
            return f"refused the mail: {code} {message}"
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
            return f'does not speak TLS here: {error.reason}; port 587 usually wants "starttls", port 25 "none"'
        case ConnectionRefusedError():
            return "refused the connection: no server listens there"
    return f"cannot be reached: {error}"


def _is_permanent(error: Exception) -> bool:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(is_final(_answer(refusal)) for refusal in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return is_final(_answer(error), to_recipient=False)
    return isinstance(error, (ValueError, aiosmtplib.SMTPNotSupported, _TooBig))


def _is_too_big(error: Exception) -> bool:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(is_too_big(_answer(refusal)) for refusal in error.recipients)
    return isinstance(error, _TooBig) or (
        isinstance(error, aiosmtplib.SMTPResponseException) and is_too_big(_answer(error))
    )


def _answer(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {error.message}"


def _is_about_the_server(error: Exception) -> bool:
    """Return whether any other mail would have failed in the same way."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code in {CLOSING, SIGN_IN_FIRST}
    return isinstance(error, OSError)


def _refusals(error: Exception, options: MailOptions) -> dict[str, str]:
    if not isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return {}
    return {one.recipient: _server_words(_answer(one), options) for one in error.recipients}


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
