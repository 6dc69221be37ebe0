"""Subject and text -> a finished message -> the bytes every mail server takes."""

from __future__ import annotations

import email.utils
import re
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING

from ..options import split_address
from ..text.escaping import block, one_line, shortened
from .headers import Header, WirePolicy, address_header, text_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..options import MailOptions

SUBJECT_LIMIT = 200
"""Characters of the subject: a type's name can be as long as a stranger likes."""

_WIRE = WirePolicy(linesep="\r\n", cte_type="7bit")
_PLAIN_DOMAIN = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9.]{1,15}\]")


def new_message(
    options: MailOptions,
    subject: str,
    text: str,
    *,
    html: str | None = None,
    to: Sequence[str] | None = None,
) -> EmailMessage:
    """A message from the sender to all admins, or to others. No text can add a header or fail to encode.

    `html` is the same as a document, whose texts the caller has escaped for HTML.
    """
    message = EmailMessage()
    message["Subject"] = text_header("Subject", shortened(one_line(subject), SUBJECT_LIMIT))
    sender = _address(options.sender)
    message["From"] = address_header("From", [sender])
    message["To"] = address_header("To", [_address(recipient) for recipient in to or options.admins])
    message["Date"] = email.utils.localtime()
    # A domain is given: make_msgid would look up this host's name, which can take seconds.
    domain = sender.domain if _PLAIN_DOMAIN.fullmatch(sender.domain) else "localhost"
    number = email.utils.make_msgid(domain=domain)
    message["Message-ID"] = Header(number, "Message-ID", (number,))
    message["Auto-Submitted"] = "auto-generated"
    # What is ASCII stays readable in the raw mail, which is what an operator has when all else fails.
    message.set_content(block(text), charset="utf-8", cte="quoted-printable")
    if html is not None:
        message.add_alternative(block(html), subtype="html", charset="utf-8", cte="quoted-printable")
    return message


def wire_form(message: EmailMessage) -> bytes:
    """The message as every server takes it: 7 bit, unless an address in its headers needs SMTPUTF8."""
    addresses = [address for header in message.values() for address in getattr(header, "addresses", ())]
    return message.as_bytes(policy=_WIRE.clone(utf8=not all(address.addr_spec.isascii() for address in addresses)))


def _address(text: str) -> Address:
    name, bare = split_address(text) or ("", text)
    user, _, domain = bare.rpartition("@")
    return Address(name, user, domain)
