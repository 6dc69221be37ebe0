"""Outbox -> one round of mailing, by a process that is no worker and only where none of them leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .sender import Sender

if TYPE_CHECKING:
    from ..options import MailingOptions, MailOptions
    from ..store.outbox import Outbox


async def send_due(outbox: Outbox, mail: MailOptions, mailing: MailingOptions, *, everything: bool = False) -> bool:
    """Write the digests that are due and try every mail that is due, once.

    Returns False where a worker leads, and has not done it yet.

    With `everything`, all errors that no mail has reported are due.
    """
    sender = Sender(outbox, mail, mailing)
    try:
        return await sender.work(last=everything)
    finally:
        sender.resign()
