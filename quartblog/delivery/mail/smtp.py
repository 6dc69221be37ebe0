"""One finished message -> one SMTP session -> what the server said, or one MailFailed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING

import aiosmtplib

from ..options import bare_address
from ..text.escaping import one_line, shortened
from .message import wire_form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..options import MailOptions

FAREWELL = 1.0
"""Seconds the server has to answer QUIT: the mail is already its own by then."""
CLOSING, SIGN_IN_FIRST = 421, 530
"""Answers that can come to any command and are not about the mail."""


class MailFailed(Exception):
    """The message was accepted for nobody. The text is one sentence for the operator."""

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool = False,
        unavailable: bool = False,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """`permanent`: sending again will not help, as long as nobody changes something."""
        super().__init__(reason)
        self.permanent = permanent
        self.unavailable = unavailable
        """The server takes no mail at all now, whatever it holds: away, out of order, or not for us."""
        self.refused = refused or {}
        """Recipients the server would not serve, with its words, where it refused them one by one."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the server said about an accepted message."""

    answer: str
    """The server's words when it took the message over."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Recipients the server would not serve, with its words; the others get the mail."""


def refused_for_good(refused: Mapping[str, str]) -> dict[str, str]:
    """Those of the refused recipients whom the server will not serve later either."""
    return {address: said for address, said in refused.items() if said.startswith("5")}


async def send(message: EmailMessage | bytes, options: MailOptions, recipients: Sequence[str] | None = None) -> Receipt:
    """Send the message in a session of its own, within `options.timeout` seconds altogether.

    It goes to the recipients, or to all admins; bytes go as they are. Raise MailFailed when no
    recipient was accepted, whatever the cause.
    """
    if options.problem is not None:
        raise MailFailed(options.problem, permanent=True, unavailable=True)
    where = f"{options.server}:{options.port}"
    # A fresh client each time: a cancelled one keeps its lock for ever.
    client = _client(options)
    transport = None
    try:
        async with asyncio.timeout(options.timeout):
            await client.connect()
            transport = client.transport
            refused, answer = await _hand_over(client, message, options.sender, recipients or options.admins)
    except (OSError, aiosmtplib.SMTPException, ValueError) as error:
        _break_off(client, transport)
        raise MailFailed(
            _without_secrets(_explain(error, where, options), options),
            permanent=_is_permanent(error),
            unavailable=transport is None or _is_about_the_server(error),
            refused=_refusals(error, options),
        ) from error
    except asyncio.CancelledError:
        _break_off(client, transport)
        raise
    await _say_goodbye(client)
    return Receipt(
        _server_words(answer, options),
        {address: f"{said.code} {_server_words(said.message, options)}" for address, said in refused.items()},
    )


async def _hand_over(
    client: aiosmtplib.SMTP, message: EmailMessage | bytes, sender: str, recipients: Sequence[str]
) -> tuple[dict[str, aiosmtplib.SMTPResponse], str]:
    data = wire_form(message) if isinstance(message, EmailMessage) else message
    envelope = [*map(bare_address, recipients)]
    plain = data.isascii() and bare_address(sender).isascii() and all(address.isascii() for address in envelope)
    return await client.sendmail(bare_address(sender), envelope, data, mail_options=[] if plain else ["SMTPUTF8"])


def _client(options: MailOptions) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=options.server,
        port=options.port,
        username=options.username or None,
        password=options.password if options.username else None,
        local_hostname=_own_name(),
        timeout=options.timeout,
        use_tls=options.tls == "implicit",
        # False, not None: None would upgrade only if the server happens to offer it.
        start_tls=options.tls == "starttls",
    )


def _own_name() -> str:
    """This host's name without a look-up; an address literal where the name is no domain."""
    name = socket.gethostname()
    usable = "." in name and name.isascii() and name.isprintable() and " " not in name
    return name if usable else "[127.0.0.1]"


def _break_off(client: aiosmtplib.SMTP, transport: asyncio.BaseTransport | None) -> None:
    """End the session now. Closed alone, it stays open for as long as a server that has stopped reading likes."""
    # Asked for before: the client forgets it at the first failure.
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    client.close()


async def _say_goodbye(client: aiosmtplib.SMTP) -> None:
    """End the session politely. The message is delivered, so nothing here may fail it."""
    try:
        with contextlib.suppress(OSError, aiosmtplib.SMTPException):
            async with asyncio.timeout(FAREWELL):
                await client.quit()
    except asyncio.CancelledError:
        # The caller must learn that the mail is delivered; its task then ends at its next await.
        if (task := asyncio.current_task()) is not None:
            task.cancel()
    client.close()


def _explain(error: Exception, where: str, options: MailOptions) -> str:
    wrapped = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) else None
    cause = wrapped or error
    if isinstance(cause, TimeoutError):
        return f"{where} did not finish within {options.timeout:g} s"
    if isinstance(cause, aiosmtplib.SMTPException):
        return f"{where} {_what_the_server_did(cause)}"
    if isinstance(cause, OSError):
        return f"{where} {_what_the_network_did(cause)}"
    return f"the mail cannot be put on the wire: {cause}"


def _what_the_server_did(error: aiosmtplib.SMTPException) -> str:
    match error:
        case aiosmtplib.SMTPAuthenticationError(code=code, message=message):
            return f"did not accept the user name and password: {code} {message}"
        case aiosmtplib.SMTPRecipientsRefused(recipients=recipients):
            said = "; ".join(f"{one.recipient}: {one.code} {one.message}" for one in recipients)
            return f"refused every recipient: {said}"
        case aiosmtplib.SMTPSenderRefused(code=code, message=message, sender=sender):
            return f"refused the sender {sender}: {code} {message}"
        case aiosmtplib.SMTPResponseException(code=code, message=message):
            return f"refused the mail: {code} {message}"
        case aiosmtplib.SMTPServerDisconnected() | aiosmtplib.SMTPConnectError():
            return f"hung up: {error.message}"
    return f"cannot take the mail: {error.message}"


def _what_the_network_did(error: OSError) -> str:
    match error:
        case socket.gaierror():
            return f"cannot be found, its name is unknown (DNS): {error.strerror}"
        case ssl.SSLCertVerificationError():
            return f"has no certificate that can be trusted (TLS): {error.verify_message}"
        case ssl.SSLError():
            return f"does not speak TLS here: {error.reason}"
        case ConnectionRefusedError():
            return "refused the connection: nothing listens there"
    return f"cannot be reached: {error}"


def _is_permanent(error: Exception) -> bool:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(refusal.code >= 500 for refusal in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code >= 500
    return isinstance(error, (ValueError, aiosmtplib.SMTPNotSupported))


def _is_about_the_server(error: Exception) -> bool:
    """Whether any other mail would have met the same."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code in {CLOSING, SIGN_IN_FIRST}
    return isinstance(error, OSError)


def _refusals(error: Exception, options: MailOptions) -> dict[str, str]:
    if not isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return {}
    return {one.recipient: f"{one.code} {_server_words(one.message, options)}" for one in error.recipients}


def _without_secrets(sentence: str, options: MailOptions) -> str:
    """The sentence on one line; a server may echo what it was sent, in plain text or base64."""
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
