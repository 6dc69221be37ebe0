"""Digests -> the errors that each of them reports. A waiting digest takes in more, a dead one gives them back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..text.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .database import Database


class Report(NamedTuple):
    """The content of a waiting digest, and whether its text is up to date."""

    counts: Mapping[str, int]
    """How many errors of each fingerprint."""
    notes: tuple[str, ...]
    """Sentences before the groups."""
    stale: bool
    """Whether it has taken in errors that are not in its text."""
    most: int | None
    """Bytes that the mail server takes at most, as far as is known."""


class TakenIn(NamedTuple):
    """Further content for a waiting digest."""

    counts: Mapping[str, int]
    """How many errors of each fingerprint."""
    notes: Sequence[str] = ()
    """Sentences before the groups."""


class NotWaiting(Exception):
    """The digest has been given up, or moved from memory to the file, since it was found. Nothing was changed."""


class WaitingDigest(NamedTuple):
    """A digest that waits, with its envelope addresses."""

    id: int
    message_id: str
    kind: Literal["digest", "route"]
    recipients: tuple[str, ...]


class Undelivered(NamedTuple):
    """A dead digest, or a part of one, that no later digest has named."""

    id: int
    subject: str
    recipients: tuple[str, ...]
    reason: str
    counts: Mapping[str, int]
    """The errors that it gave back; empty if it reached an admin, or went to the recipients of a route."""


def keep(database: Database, mail: int, counts: Mapping[str, int]) -> None:
    """Note that the mail reports so many more errors of each fingerprint."""
    database.executemany(
        """INSERT INTO mail_groups (mail_id, fingerprint, count) VALUES (?, ?, ?)
        ON CONFLICT DO UPDATE SET count = count + excluded.count""",
        [(mail, one_line(fingerprint), count) for fingerprint, count in counts.items()],
    )


def take_in(database: Database, mail: int, more: TakenIn) -> None:
    """Let a waiting digest report more; its text is then out of date. Raise NotWaiting, which undoes the rest."""
    row = database.execute("SELECT notes FROM mails WHERE id = ? AND state = 'waiting'", (mail,)).fetchone()
    if row is None:
        raise NotWaiting(f"the mail {mail} does not wait any more")
    keep(database, mail, more.counts)
    notes = json.dumps([*dict.fromkeys((*json.loads(row["notes"]), *more.notes))])
    database.execute("UPDATE mails SET stale = 1, notes = ? WHERE id = ?", (notes, mail))


def get(database: Database, mail: int) -> Report | None:
    """Return what the mail reports; None for an unknown mail."""
    row = database.execute("SELECT notes, stale, most FROM mails WHERE id = ?", (mail,)).fetchone()
    if row is None:
        return None
    return Report(_counts(database, mail), tuple(json.loads(row["notes"])), bool(row["stale"]), row["most"])


def waiting(database: Database, token: int) -> list[WaitingDigest]:
    """Return the digests that wait, except those that an earlier leader may be sending, the oldest first."""
    rows = database.execute(
        """SELECT id, message_id, kind, recipients FROM mails WHERE state = 'waiting' AND kind != 'post'
            AND (token IS NULL OR token = ?) AND EXISTS (SELECT 1 FROM mail_groups WHERE mail_id = mails.id)
        ORDER BY created, abs(id)""",
        (token,),
    )
    return [
        WaitingDigest(row["id"], row["message_id"], row["kind"], tuple(json.loads(row["recipients"]))) for row in rows
    ]


def undelivered(database: Database) -> list[Undelivered]:
    """Return the dead digests that no later one has named, the oldest first."""
    rows = database.execute(
        """SELECT id, subject, recipients, last_error, kind = 'digest' AND NOT reached FROM mails
        WHERE state = 'dead' AND kind != 'post' AND NOT announced ORDER BY finished, abs(id)"""
    ).fetchall()
    return [
        Undelivered(number, subject, tuple(json.loads(to)), reason, _counts(database, number) if gave_back else {})
        for number, subject, to, reason, gave_back in rows
    ]


def announce(database: Database, mails: Iterable[int]) -> None:
    """Note that a digest names these dead mails, and reports the errors that they gave back."""
    for mail in mails:
        database.execute("UPDATE mails SET announced = 1 WHERE id = ?", (mail,))
        database.execute("DELETE FROM mail_groups WHERE mail_id = ?", (mail,))


def _counts(database: Database, mail: int) -> dict[str, int]:
    query = "SELECT fingerprint, count FROM mail_groups WHERE mail_id = ?"
    return dict(database.execute(query, (mail,)).fetchall())
