"""Subject and text -> a finished message -> the bytes every mail server takes."""

from __future__ import annotations

import email.policy
import email.utils
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING

from ..options import split_address
from ..text.escaping import block, one_line, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..options import MailOptions

SUBJECT_LIMIT = 200
"""Characters of the subject: a type's name can be as long as a stranger likes."""


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
    message["Subject"] = shortened(one_line(subject), SUBJECT_LIMIT)
    sender = _address(options.sender)
    message["From"] = sender
    message["To"] = [_address(recipient) for recipient in to or options.admins]
    message["Date"] = email.utils.localtime()
    # The domain is given: make_msgid would look up this host's name, which can take seconds.
    message["Message-ID"] = email.utils.make_msgid(domain=sender.domain)
    message["Auto-Submitted"] = "auto-generated"
    # What is ASCII stays readable in the raw mail, which is what an operator has when all else fails.
    message.set_content(block(text), charset="utf-8", cte="quoted-printable")
    if html is not None:
        message.add_alternative(block(html), subtype="html", charset="utf-8", cte="quoted-printable")
    return message


def wire_form(message: EmailMessage) -> bytes:
    """The message as every server takes it: 7 bit, unless an address in its headers needs SMTPUTF8."""
    headers = [header for name in ("from", "to", "cc", "reply-to") for header in message.get_all(name, [])]
    utf8 = not all(address.addr_spec.isascii() for header in headers for address in header.addresses)
    return message.as_bytes(policy=email.policy.SMTP.clone(cte_type="7bit", utf8=utf8))


def _address(text: str) -> Address:
    """For a header: a display name with a comma or in Chinese is quoted or encoded by it."""
    name, bare = split_address(text) or ("", text)
    user, _, domain = bare.rpartition("@")
    return Address(name, user, domain)
