"""Error records leave the request path: logging call -> queue -> listener thread -> file, outbox -> mail.

The call costs the caller about 10 µs: the message is frozen, the record is put on a bounded queue, and
nothing is formatted. The listener thread formats it, writes the rotating file and counts errors in
the outbox; the mailer sends digests of them from an event loop of its own, one process for the whole
host. With `outbox=OutboxOptions(path=...)` errors and mails survive the process, however it ends.

Where to look:

    pipeline    Delivery: start, stop, drain, reconfigure      intake/     the queue, the listener, the log file
    context     scope(): whose record it is                    text/       tracebacks, escaping, redaction
    options     what an operator may turn                      grouping/   when two failures are the same one
    statistics  counters and latencies                         outbox/     the SQLite file of a host
    uncaught    exceptions that reach no logger                mail/       digests, the leader, SMTP
    forks       a child's own delivery                         rehearsal/  a storm on the real pipeline, on purpose

Works in any asyncio program, or in none. It needs the libraries aiosmtplib and concurrent-log-handler; where the
folder stands beside your program, import it by its own name, `delivery`:

    import asyncio, logging
    from pathlib import Path
    from quartblog.delivery import Delivery, FileOptions, MailOptions

    async def main() -> None:
        mail = MailOptions(server="localhost", sender="site@example.org", admins=("ada@example.org",), site="Site")
        with Delivery(file=FileOptions(path=Path("logs/site.log")), mail=mail):
            try:
                1 / 0
            except ZeroDivisionError:
                logging.getLogger("site").exception("the division failed")

    asyncio.run(main())
"""

from .asgi import ErrorScope, sent_values, worth_hiding
from .context import Scope, current_scope, new_error_id, scope
from .delivery import Delivery
from .filesystem import check_owner, make_private
from .grouping.event import Event
from .interrupts import reraise_interrupt
from .mail.digest import headline
from .mail.message import new_message
from .mail.once import send_due
from .mail.schedule import Cap, cap
from .mail.smtp import MailFailed, Receipt, send
from .options import FileOptions, MailingOptions, MailOptions, OutboxOptions, QueueOptions, Route
from .store.groups import Group
from .store.mails import State, StoredMail
from .store.outbox import Outbox
from .store.workers import Totals, Worker
from .text.escaping import block, json_safe, one_line
from .text.exceptions import wordless

__all__ = [
    "Cap",
    "Delivery",
    "ErrorScope",
    "Event",
    "FileOptions",
    "Group",
    "MailFailed",
    "MailOptions",
    "MailingOptions",
    "Outbox",
    "OutboxOptions",
    "QueueOptions",
    "Receipt",
    "Route",
    "Scope",
    "State",
    "StoredMail",
    "Totals",
    "Worker",
    "block",
    "cap",
    "check_owner",
    "current_scope",
    "headline",
    "json_safe",
    "make_private",
    "new_error_id",
    "new_message",
    "one_line",
    "reraise_interrupt",
    "scope",
    "send",
    "send_due",
    "sent_values",
    "wordless",
    "worth_hiding",
]
