"""Error records leave the request path: logging call -> queue -> listener thread -> file, mail.

The call costs the caller about 10 µs: the message is frozen, the record is put on a bounded queue, and
nothing is formatted. The listener thread formats it, writes the rotating file and hands errors to
the mailer, which talks to the SMTP server from an event loop of its own.

Works in any asyncio program, or in none:

    import asyncio, logging
    from pathlib import Path
    from quartblog.delivery import Delivery, FileOptions, MailOptions

    async def main() -> None:
        mail = MailOptions(server="localhost", sender="site@example.org", admins=("ada@example.org",))
        with Delivery(file=FileOptions(path=Path("logs/site.log")), mail=mail):
            try:
                1 / 0
            except ZeroDivisionError:
                logging.getLogger("site").exception("the division failed")

    asyncio.run(main())
"""

from .ids import new_error_id
from .mail import compose, new_message
from .options import FileOptions, MailOptions, QueueOptions
from .pipeline import Delivery
from .smtp import MailFailed, Receipt, send

__all__ = [
    "Delivery",
    "FileOptions",
    "MailFailed",
    "MailOptions",
    "QueueOptions",
    "Receipt",
    "compose",
    "new_error_id",
    "new_message",
    "send",
]
