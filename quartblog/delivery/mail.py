"""ERROR record -> EmailMessage -> whoever posts it: the mailer today, an outbox tomorrow."""

from __future__ import annotations

import datetime as dt
import email.policy
import email.utils
import logging
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING

from .escaping import block, one_line, shortened
from .formatting import exception_text, failure, type_name
from .options import split_address
from .queue import LOGGER_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .options import MailOptions

SUBJECT_LIMIT = 200
"""Characters of the subject: a type's name can be as long as a stranger likes."""
BODY_LIMIT = 50_000
"""Characters of the message and of the traceback each; the whole is in the log file."""


class MailSink(logging.Handler):
    """Makes a mail of every ERROR and CRITICAL record, except for the delivery's own."""

    def __init__(self, options: MailOptions, post: Callable[[EmailMessage], None]) -> None:
        """`post` takes the finished message and returns at once."""
        super().__init__(logging.ERROR)
        self._options = options
        self._post = post
        self.addFilter(is_foreign)

    def emit(self, record: logging.LogRecord) -> None:
        """Compose and post. What that raises, the listener reports."""
        self._post(compose(record, self._options))


def is_foreign(record: logging.LogRecord) -> bool:
    """False for the delivery's own records: a failed mail must not become a mail."""
    own_logger = record.name == LOGGER_NAME or record.name.startswith(f"{LOGGER_NAME}.")
    return not own_logger and record.threadName != MAILER_THREAD


MAILER_THREAD = "quartblog-mailer"


def compose(record: logging.LogRecord, options: MailOptions) -> EmailMessage:
    """The report of one failure, complete with Date and Message-ID, for all admins."""
    what = type_name(failure(record)) or record.levelname
    error_id = getattr(record, "error_id", None) or "-"
    return new_message(options, f"[{options.site}] {options.title} {error_id} {what}", _report(record))


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
    message.set_content(block(text), charset="utf-8")
    if html is not None:
        message.add_alternative(block(html), subtype="html", charset="utf-8")
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


def _report(record: logging.LogRecord) -> str:
    moment = dt.datetime.fromtimestamp(record.created, dt.UTC).astimezone()
    lines = [
        ("Time", moment.isoformat(sep=" ", timespec="milliseconds")),
        ("Level", record.levelname),
        ("Logger", record.name),
        ("Place", f"{record.pathname}:{record.lineno}"),
        ("Error id", getattr(record, "error_id", None)),
        ("Method", getattr(record, "method", None)),
        ("Route", getattr(record, "route", None)),
        ("User id", getattr(record, "user_id", None)),
    ]
    head = "".join(f"{name + ':':<10}{one_line('-' if value is None else str(value))}\n" for name, value in lines)
    message = one_line(shortened(record.getMessage(), BODY_LIMIT))
    trace = shortened(exception_text(record), BODY_LIMIT)
    return f"{head}\n{message}\n" + (f"\n{trace}\n" if trace else "")
