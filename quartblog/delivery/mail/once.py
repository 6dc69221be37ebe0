"""Outbox -> one round of mailing, by a command, unless a worker leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .sender import Sender

if TYPE_CHECKING:
    from ..options import MailingOptions, MailOptions
    from ..store.outbox import Outbox


async def send_due(outbox: Outbox, mail: MailOptions, mailing: MailingOptions, *, everything: bool = False) -> bool:
    """Write the digests that are due, and try every mail that is due once.

    With `everything`, all errors that no mail has reported are due. Return False if a worker leads and has not sent
    them yet.
    """
    sender = Sender(outbox, mail, mailing)
    try:
        return await sender.work(last=everything)
    finally:
        sender.resign()
