"""Finished mails -> rows -> StoredMails that are due or shown. Each function is one part of a transaction."""

from __future__ import annotations

import email.utils
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..mail.addresses import bare_address
from ..mail.message import wire_form
from ..text.escaping import one_line
from . import digest_contents

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from email.message import EmailMessage

    from .clock import Moment
    from .database import Database

Kind = Literal["digest", "route", "post"]
State = Literal["waiting", "sent", "dead"]

_HELD = "id = :mail AND state = 'waiting' AND (:token IS NULL OR token = :token)"
"""A mail that still waits and, with a token, that no later leader has claimed."""


@dataclass(frozen=True, slots=True)
class NewMail:
    """A finished mail that is to be stored."""

    message_id: str
    subject: str
    data: bytes
    """The whole message as SMTP sends it."""
    recipients: tuple[str, ...]
    """Envelope addresses."""
    kind: Kind = "digest"
    """`digest` for the admins, `route` for further recipients of a digest, `post` for the program's own mail."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many errors of each fingerprint a digest reports."""
    notes: tuple[str, ...] = ()
    """Sentences of a digest before its groups."""


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A mail of the outbox. Times are epoch seconds, as the wall clock has them now."""

    id: int
    """Negative while the mail is only in this process's memory."""
    message_id: str
    kind: Kind
    subject: str
    data: bytes
    """Empty for a finished mail whose text was deleted to make room; such a dead letter cannot be sent."""
    recipients: tuple[str, ...]
    """Those that are not served yet; of a sent mail, those that are served."""
    tries: int
    created: float
    since: float
    """Start of the time after which the mail is given up: `created`, or the retry of an operator."""
    next_try: float
    last_error: str
    """Why the last try failed; for a sent mail, the server's answer."""
    state: State
    finished: float | None = None
    """When it was sent or given up."""
    age: float = field(default=0.0, compare=False)
    """Seconds from `created` until it was read."""
    tried_for: float = field(default=0.0, compare=False)
    """Seconds from `since` until it was read, which no change of the wall clock moves."""
    token: int | None = field(default=None, compare=False)
    """That of the lease that has claimed it."""


def posted(message: EmailMessage, recipients: Sequence[str]) -> NewMail:
    """Finish a mail of the program's own, with Date and Message-ID if they are missing."""
    if "Date" not in message:
        message["Date"] = email.utils.localtime()
    if "Message-ID" not in message:
        message["Message-ID"] = email.utils.make_msgid(domain="localhost")
    return NewMail(
        message_id=str(message["Message-ID"]),
        subject=str(message.get("Subject", "")),
        data=wire_form(message),
        recipients=tuple(map(bare_address, recipients)),
        kind="post",
    )


def add(database: Database, mail: NewMail, at: float) -> int:
    """Store a mail that is due at once, and return its id."""
    cursor = database.execute(
        """INSERT INTO mails (id, message_id, kind, subject, data, recipients, created, since, next_try, notes)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id""",
        (
            database.next_id(),
            mail.message_id,
            mail.kind,
            one_line(mail.subject),
            mail.data,
            json.dumps(mail.recipients),
            at,
            at,
            at,
            json.dumps(mail.notes),
        ),
    )
    number = int(cursor.fetchone()[0])
    digest_contents.keep(database, number, mail.counts)
    return number


def rewrite(database: Database, mail: int, new: NewMail, most: int | None, token: int | None) -> bool:
    """Give a waiting digest another text, with all that it reports."""
    statement = f"""UPDATE mails SET message_id = :message_id, subject = :subject, data = :data, most = :most, stale = 0
        WHERE {_HELD}"""  # noqa: S608  a constant
    text = {"message_id": new.message_id, "subject": one_line(new.subject), "data": new.data, "most": most}
    return database.execute(statement, {**text, "mail": mail, "token": token}).rowcount > 0


def is_due(database: Database, now: float) -> bool:
    """Return whether a waiting mail is due."""
    query = "SELECT 1 FROM mails WHERE state = 'waiting' AND next_try <= ? LIMIT 1"
    return database.execute(query, (now,)).fetchone() is not None


def claim(database: Database, token: int, grace: float, at: Moment) -> StoredMail | None:
    """Mark the next due mail as in flight, and return it.

    Posted mails come first, then mails by the time they were due, so that one that always fails delays no other.
    """
    row = database.execute(
        """UPDATE mails SET token = :token, claimed = :now WHERE id =
            (SELECT id FROM mails WHERE state = 'waiting' AND next_try <= :now
                AND (token IS NULL OR token = :token OR claimed <= :now - :grace)
            ORDER BY kind != 'post', next_try, created, abs(id) LIMIT 1)
        RETURNING *""",
        {"token": token, "grace": grace, "now": at.now},
    ).fetchone()
    return None if row is None else _mail(row, at)


def listed(database: Database, state: State | None, limit: int, at: Moment) -> list[StoredMail]:
    """Return mails, the newest first."""
    rows = database.execute(
        """SELECT * FROM mails WHERE :state IS NULL OR state = :state
        ORDER BY created DESC, abs(id) DESC LIMIT :limit""",
        {"state": state, "limit": limit},
    )
    return [_mail(row, at) for row in rows]


def sent(database: Database, mail: int, answer: str, now: float) -> bool:
    """Note that all waiting recipients were served."""
    _count_from_now(database, mail, now)
    statement = "UPDATE mails SET state = 'sent', tries = tries + 1, last_error = ?, finished = ? WHERE id = ?"
    return database.execute(statement, (one_line(answer), now, mail)).rowcount > 0


def failed(database: Database, mail: int, reason: str, next_try: float, token: int | None) -> bool:
    """Note a failed try; the mail is due again at `next_try`."""
    statement = f"""UPDATE mails SET tries = tries + 1, last_error = :reason, next_try = :at, token = NULL,
        claimed = NULL WHERE {_HELD}"""  # noqa: S608  a constant
    values = {"mail": mail, "reason": one_line(reason), "at": next_try, "token": token}
    return database.execute(statement, values).rowcount > 0


def dead(database: Database, mail: int, reason: str, now: float, token: int | None) -> bool:
    """Give the mail up, unless an operator asks for a retry."""
    statement = f"""UPDATE mails SET state = 'dead', tries = tries + 1, last_error = :reason, finished = :now
        WHERE {_HELD}"""  # noqa: S608  a constant
    values = {"mail": mail, "reason": one_line(reason), "now": now, "token": token}
    return database.execute(statement, values).rowcount > 0


class Outcome(NamedTuple):
    """The result of one try for each recipient."""

    served: Sequence[str]
    refused: Mapping[str, str]
    """Those that are given up, each with the server's answer."""
    waiting: Sequence[str]
    """Those that are tried again."""


def partly(database: Database, mail: int, outcome: Outcome, now: float, token: int | None) -> bool:
    """Make a dead letter of its own for the refused recipients, so that a retry does not reach the others again."""
    held = f"SELECT 1 FROM mails WHERE {_HELD}"  # noqa: S608  a constant
    if database.execute(held, {"mail": mail, "token": token}).fetchone() is None:
        return False
    if outcome.refused:
        reason = "; ".join(f"{address}: {words}" for address, words in outcome.refused.items())
        database.execute(
            """INSERT INTO mails (id, message_id, kind, subject, data, recipients, tries, created, since, next_try,
                last_error, state, finished)
            SELECT ?, message_id, kind, subject, data, ?, tries + 1, created, since, next_try, ?, 'dead', ?
            FROM mails WHERE id = ?""",
            (database.next_id(), json.dumps(list(outcome.refused)), one_line(reason), now, mail),
        )
    if outcome.served:
        _count_from_now(database, mail, now)
        database.execute("UPDATE mails SET reached = 1 WHERE id = ?", (mail,))
    if outcome.waiting:
        change = ("UPDATE mails SET recipients = ? WHERE id = ? AND state = 'waiting'", outcome.waiting)
    elif outcome.served:
        sent(database, mail, "", now)
        change = ("UPDATE mails SET recipients = ? WHERE id = ?", outcome.served)
    else:
        return database.execute("DELETE FROM mails WHERE id = ?", (mail,)).rowcount > 0
    statement, left = change
    return database.execute(statement, (json.dumps(left), mail)).rowcount > 0


def retry(database: Database, mail: int | None, now: float) -> int:
    """Make dead and waiting mails due now, one or all; return how many."""
    return database.execute(
        """UPDATE mails SET next_try = :now, finished = NULL, announced = 0,
            token = CASE state WHEN 'dead' THEN NULL ELSE token END,
            since = CASE state WHEN 'dead' THEN :now ELSE since END,
            tries = CASE state WHEN 'dead' THEN 0 ELSE tries END,
            state = 'waiting'
        WHERE state != 'sent' AND data != x'' AND (:mail IS NULL OR id = :mail)""",
        {"now": now, "mail": mail},
    ).rowcount


def purge(database: Database, before: float, states: Sequence[State]) -> int:
    """Remove finished mails; return how many."""
    return sum(
        database.execute(
            "DELETE FROM mails WHERE state = :state AND finished <= :before",
            {"state": state, "before": before},
        ).rowcount
        for state in states
    )


def digests_within(database: Database, seconds: float, now: float) -> int:
    """Count the digests that were begun less than so many seconds ago."""
    return int(database.execute("SELECT count(*) FROM digests WHERE left > ?", (now - seconds,)).fetchone()[0])


def digests_since(database: Database, since: float) -> list[float]:
    """Return the steady times of the digests that were begun after this steady time."""
    return [left for [left] in database.execute("SELECT left FROM digests WHERE left > ?", (since,))]


def latest_digests(database: Database, limit: int, now: float) -> list[float]:
    """Return how many seconds ago the last digests were begun, the latest first."""
    rows = database.execute("SELECT left FROM digests ORDER BY left DESC LIMIT ?", (limit,))
    return [max(0.0, now - left) for [left] in rows]


def _count_from_now(database: Database, mail: int, now: float) -> None:
    """Count a digest against the cap from the time at which it leaves."""
    database.execute(
        "UPDATE digests SET left = ? WHERE left = (SELECT created FROM mails WHERE id = ? AND kind = 'digest')",
        (now, mail),
    )


def _mail(row: sqlite3.Row, at: Moment) -> StoredMail:
    values = dict(row)
    for internal in ("claimed", "notes", "stale", "most", "reached", "announced"):
        del values[internal]
    values["recipients"] = tuple(json.loads(values["recipients"]))
    values["age"] = max(0.0, at.now - values["created"])
    values["tried_for"] = max(0.0, at.now - values["since"])
    for name in ("created", "since", "next_try", "finished"):
        if values[name] is not None:
            values[name] += at.ahead
    return StoredMail(**values)
