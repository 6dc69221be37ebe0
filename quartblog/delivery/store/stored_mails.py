"""Finished mails -> the outbox -> whoever sends or shows them: the half of the Outbox that is about mail."""

from __future__ import annotations

import email.utils
from typing import TYPE_CHECKING

from ..mail.message import wire_form
from ..options import bare_address
from . import groups as group_rows
from . import mails as mail_rows
from .stored import NewMail, State, StoredMail, ToldMeanwhile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from email.message import EmailMessage

    from .database import Database
    from .fallback import Storage


class StoredMails:
    """Every change of a mail survives a power cut. Ids are negative while only memory works."""

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        """`clock` gives epoch seconds."""
        self._storage = storage
        self._clock = clock

    def begin_mail(self, mail: NewMail, reported: Mapping[int, tuple[int, int]], also: Sequence[NewMail] = ()) -> int:
        """Store a digest and what it reports, together; returns its id.

        `reported` gives for each group how many of its events mails had told of when the digest was written, and
        how many they have told of with it. `also` are the mails to additional recipients that belong to it. Raises
        ToldMeanwhile where another mail has told of some since: after an outage two processes may have looked at
        the same groups, or one brings back what it told of from its memory.
        """
        now = self._clock()

        def begin(database: Database) -> int:
            if any(self._told_meanwhile(database, group, before) for group, (before, _) in reported.items()):
                raise ToldMeanwhile
            for group, (before, after) in reported.items():
                self._storage.rows.on_row(database, "groups", group, _marking(after - before, now))
            database.execute("INSERT INTO digests VALUES (?)", (now,))
            number = mail_rows.add(database, mail, now)
            for other in also:
                mail_rows.add(database, other, now)
            return number

        return self._storage.write(begin, durable=True)

    def post(self, message: EmailMessage, recipients: Sequence[str]) -> int:
        """Store a product mail; returns its id when it is safe on disk, or a negative one while only memory works.

        The recipients may have display names: what is stored is the envelope. Raises what
        the standard library raises for a message that cannot be written as bytes.
        """
        if "Date" not in message:
            message["Date"] = email.utils.localtime()
        if "Message-ID" not in message:
            message["Message-ID"] = email.utils.make_msgid(domain="localhost")
        mail = NewMail(
            message_id=str(message["Message-ID"]),
            subject=str(message.get("Subject", "")),
            data=wire_form(message),
            recipients=tuple(map(bare_address, recipients)),
            kind="post",
        )
        return self._storage.write(lambda database: mail_rows.add(database, mail, self._clock()), durable=True)

    def next_mail(self, now: float) -> StoredMail | None:
        """The waiting mail whose time has come first."""
        return self._storage.read(lambda database: mail_rows.next_due(database, now))

    def alone(self, mail: int) -> AbstractContextManager[bool]:
        """While it is sent: True for a mail that no other process can see, which stays so until this is left."""
        return self._storage.staying("mails", mail)

    def sent(self, mail: int, answer: str, at: float) -> None:
        """All recipients that waited are served."""
        self._change(mail, lambda database, row: mail_rows.sent(database, row, answer, at))

    def partly(
        self,
        mail: int,
        served: Sequence[str],
        refused: Mapping[str, str],
        waiting: Sequence[str],
        next_try: float | None = None,
    ) -> None:
        """Some are served. The refused become a dead letter of their own; the waiting are tried at `next_try`."""
        at = self._clock()

        def part(database: Database, row: int) -> None:
            mail_rows.partly(
                database, row, mail_rows.Outcome(tuple(served), dict(refused), tuple(waiting), next_try), at
            )

        self._change(mail, part)

    def failed(self, mail: int, reason: str, next_try: float) -> None:
        """Nobody was served; it is tried again at `next_try`."""
        self._change(mail, lambda database, row: mail_rows.failed(database, row, reason, next_try))

    def dead(self, mail: int, reason: str) -> None:
        """It is not tried again unless somebody asks."""
        at = self._clock()
        self._change(mail, lambda database, row: mail_rows.dead(database, row, reason, at))

    def mails(self, state: State | None = None, limit: int = 100) -> list[StoredMail]:
        """The newest mails."""
        return self._storage.read(lambda database: mail_rows.listed(database, state, limit))

    def retry(self, mail: int | None = None) -> int:
        """Make one, or every, dead or waiting mail due now; returns how many."""
        now = self._clock()

        def again(database: Database) -> int:
            row = None if mail is None else self._storage.rows.current(database, "mails", mail)
            return 0 if row is None is not mail else mail_rows.retry(database, row, now)

        return self._storage.write(again, durable=True)

    def purge(self, *, before: float | None = None, dead: bool = False, sent: bool = False) -> int:
        """Remove dead or sent mails that ended before a time; returns how many. Waiting ones stay."""
        states: list[State] = [*(["dead"] if dead else []), *(["sent"] if sent else [])]  # type: ignore[list-item]
        return self._storage.write(lambda database: mail_rows.purge(database, before, states))

    def digests_since(self, at: float) -> int:
        """How many digests were begun since."""
        query = "SELECT count(*) FROM digests WHERE left >= ?"
        return self._storage.read(lambda database: int(database.execute(query, (at,)).fetchone()[0]))

    def latest_digests(self, limit: int) -> list[float]:
        """When the last digests were begun, the latest first."""
        query = "SELECT left FROM digests ORDER BY left DESC LIMIT ?"
        return self._storage.read(lambda database: [at for [at] in database.execute(query, (limit,))])

    def earliest_try(self) -> float | None:
        """When the next waiting mail is due."""
        return self._storage.read(mail_rows.earliest_try)

    def _told_meanwhile(self, database: Database, group: int, before: int) -> bool:
        row = self._storage.rows.current(database, "groups", group)
        told = None if row is None else group_rows.reported(database, row)
        return told is not None and told != before + self._storage.rows.reported_before(group)

    def _change(self, mail: int, work: Callable[[Database, int], object]) -> None:
        self._storage.write(lambda database: self._storage.rows.on_row(database, "mails", mail, work), durable=True)


def _marking(more: int, at: float) -> Callable[[Database, int], None]:
    return lambda database, group: group_rows.mark_reported(database, group, more, at)
