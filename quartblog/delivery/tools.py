"""Parts of the delivery -> a program that is built on top of it, such as a command, a settings reader or a page.

An application needs only the names of the folder itself. These are the second and last door:

    text         one_line, block, json_safe    what a stranger wrote, safe for a terminal, a log or a mail
                 headline                      a group in one line
    visitors     sent_values, worth_hiding     what a request sent, and which of its values records must not show
    failures     failures, Failure, Frame      a record's exception and causes as types and frames, without variables
                 is_own                        whether a file is the program's own code, and not a library's
    exceptions   reraise_interrupt             for an `except BaseException` around foreign code
                 wordless                      an exception without its message, which nobody has redacted
    mail         new_message, send_due         make a mail in the form of a report; send what is due, now
                 summary_mail                  the mail about the last seven days
                 cap, Cap                      how many digests may still leave within the hour
    addresses    ascii_host, is_loopback       a host as DNS has it; whether it is this machine
    files        check_owner, make_private     who owns a file; create it for its owner only
    workers      SILENT                        seconds without a heartbeat, after which a worker does not run
"""

from .asgi import sent_values, worth_hiding
from .capture.hooks import wordless
from .filesystem import check_owner, make_private
from .grouping.fingerprint import is_own
from .grouping.frames import Failure, Frame, failures
from .mail.addresses import ascii_host, is_loopback
from .mail.digest import headline
from .mail.message import new_message
from .mail.schedule import Cap, cap
from .mail.sender import send_due
from .mail.summary import summary_mail
from .own_log import reraise_interrupt
from .store.workers import SILENT
from .text.escaping import block, json_safe, one_line
from .text.redaction import REDACTED

__all__ = [
    "REDACTED",
    "SILENT",
    "Cap",
    "Failure",
    "Frame",
    "ascii_host",
    "block",
    "cap",
    "check_owner",
    "failures",
    "headline",
    "is_loopback",
    "is_own",
    "json_safe",
    "make_private",
    "new_message",
    "one_line",
    "reraise_interrupt",
    "send_due",
    "sent_values",
    "summary_mail",
    "wordless",
    "worth_hiding",
]
