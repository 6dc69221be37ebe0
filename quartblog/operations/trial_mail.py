"""Options of the mail -> a test mail, which shows that error mails reach their readers."""

import email.utils
from email.message import EmailMessage

from quartblog.delivery import MailOptions
from quartblog.delivery.tools import new_message

TEST = "quartblog-test"
"""A part of the Message-ID that marks test mails, which are ordinary posts for the outbox."""


def trial_mail(options: MailOptions, cause: str) -> EmailMessage:
    """Return the mail to all admins; `cause` is a sentence that says who sent it and how."""
    subject = f"A test mail ({options.title} {options.site})"
    text = f"{cause} Error mails will reach you like this one."
    return marked(new_message(options, subject, text, conversations=()))


def marked(message: EmailMessage) -> EmailMessage:
    """Give the message a Message-ID that marks it as a test, and return it."""
    domain = message["Message-ID"].strip("<>").rpartition("@")[2]
    message.replace_header("Message-ID", email.utils.make_msgid(TEST, domain))
    return message
