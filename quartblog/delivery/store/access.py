"""A tool beside the program, or an event loop -> the calls of an Outbox."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ..options import OutboxOptions
from ..own_log import own_logger
from .outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import EmailMessage

    from .details import Details
    from .groups import Group
    from .mails import State, StoredMail
    from .search import GroupPage, Query
    from .workers import Leader, Totals, Worker


logger = own_logger("outbox")


def open_outbox(path: Path | str) -> Outbox:
    """Open an outbox beside the program that writes it, to read or change it. The caller closes it.

    Raise OSError if the file cannot be used. A missing file is created. A damaged file is renamed, which the log
    reports. The bounds are those of the program that writes the file.
    """
    outbox = Outbox(OutboxOptions(path=Path(path)))
    try:
        aside = outbox.open()
    except OSError:
        outbox.close()
        raise
    if aside is not None:
        logger.warning("%s was damaged: it was renamed to %s, and a new outbox was created", path, aside)
    return outbox


class AsyncOutbox:
    """An outbox for event loops: each call waits for the disk in a thread.

    Each method does the same as the method of Outbox with its name, and raises the same.
    """

    def __init__(self, outbox: Outbox) -> None:
        """The caller closes the outbox."""
        self._outbox = outbox

    @property
    def healthy(self) -> bool:
        """Whether the file, if there is one, could be used the last time."""
        return self._outbox.healthy

    async def groups(self, *, resolved: bool | None = False, limit: int = 100, samples: int = 1) -> list[Group]:
        """Return the groups that failed last, with their newest samples; `resolved=None` gives both kinds."""
        return await asyncio.to_thread(self._outbox.groups, resolved=resolved, limit=limit, samples=samples)

    async def group(self, key: int | str) -> Group | None:
        """Return the group with this id, with this error id among its samples, or with this fingerprint."""
        return await asyncio.to_thread(self._outbox.group, key)

    async def page(self, query: Query) -> GroupPage:
        """Return one page of the groups that somebody looks for."""
        return await asyncio.to_thread(self._outbox.page, query)

    async def details(self, key: int | str, *, quoted: str = "", ids: int = 100) -> Details | None:
        """Return what is known of the group beside it, with its newest quotable ids, and the error of a quoted one."""
        return await asyncio.to_thread(self._outbox.details, key, quoted=quoted, ids=ids)

    async def resolve(self, key: int | str, *, who: str = "", note: str = "") -> bool:
        """Close the group; its next event opens it again. False for an unknown group."""
        return await asyncio.to_thread(self._outbox.resolve, key, who=who, note=note)

    async def mute(
        self, key: int | str, seconds: float, more: int | None = None, *, who: str = "", note: str = ""
    ) -> bool:
        """Report the group in no mail for this many seconds, or until `more` errors. False for an unknown group."""
        return await asyncio.to_thread(self._outbox.mute, key, seconds, more, who=who, note=note)

    async def reopen(self, key: int | str, *, who: str = "", note: str = "") -> bool:
        """Undo `resolve` and `mute`. False for an unknown group."""
        return await asyncio.to_thread(self._outbox.reopen, key, who=who, note=note)

    async def note(self, key: int | str, text: str, *, who: str = "") -> bool:
        """Add a note to the group's history. False for an unknown group."""
        return await asyncio.to_thread(self._outbox.note, key, text, who=who)

    async def mails(self, state: State | None = None, limit: int = 100) -> list[StoredMail]:
        """Return the newest mails; `totals` counts all of them."""
        return await asyncio.to_thread(self._outbox.mails, state, limit)

    async def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """Store a mail of the program's own; return its id once it is on disk."""
        return await asyncio.to_thread(self._outbox.post, message, recipients)

    async def retry(self, mail: int | None = None) -> int:
        """Make one, or every, dead or waiting mail due now; return how many."""
        return await asyncio.to_thread(self._outbox.retry, mail)

    async def purge(
        self, mail: int | None = None, *, older_than: float = 0.0, dead: bool = False, sent: bool = False
    ) -> int:
        """Remove one mail, or the dead or sent ones that ended at least so many seconds ago; return how many."""
        return await asyncio.to_thread(self._outbox.purge, mail, older_than=older_than, dead=dead, sent=sent)

    async def workers(self, within: float = float("inf")) -> list[Worker]:
        """Return the workers with a heartbeat within so many seconds, by name."""
        return await asyncio.to_thread(self._outbox.workers, within)

    async def leader(self) -> Leader | None:
        """Return the leader, however long it has been silent; None if no worker leads."""
        return await asyncio.to_thread(self._outbox.leader)

    async def totals(self) -> Totals:
        """Return the counts of groups, mails and losses."""
        return await asyncio.to_thread(self._outbox.totals)
