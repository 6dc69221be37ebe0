"""Outbox -> one round of mailing, by a process that is no worker and only where none of them leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .leader import LeaderLock
from .sender import Sender

if TYPE_CHECKING:
    from ..options import MailingOptions, MailOptions
    from ..store.outbox import Outbox


async def send_due(outbox: Outbox, mail: MailOptions, mailing: MailingOptions, *, everything: bool = False) -> bool:
    """Write the digests that are due and try every mail that is due, once. False where another process leads.

    With `everything`, all errors that no mail has reported are due.
    """
    lock = LeaderLock(outbox.path.with_name(f"{outbox.path.name}.leader")) if outbox.path else None

    def leads() -> bool:
        return lock is None or lock.take()

    try:
        return (outbox.in_memory or leads()) and await Sender(outbox, mail, mailing).work(leads=leads, last=everything)
    finally:
        if lock is not None:
            lock.release()
