"""Finished mails -> rows -> StoredMails that are due or shown. Each function is one part of a transaction."""

from __future__ import annotations

import email.utils
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..mail.addresses import bare_address
from ..mail.message import wire_form
from ..text.escaping import one_line

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from email.message import EmailMessage

    from .clock import Moment
    from .database import Database

Kind = Literal["digest", "copy", "post", "summary"]
State = Literal["waiting", "sent", "dead"]

_HELD = "id = :mail AND state = 'waiting' AND (:token IS NULL OR token = :token)"
"""A mail that still waits and, with a token, that no later leader has claimed."""
WRITTEN = "kind IN ('post', 'summary')"
"""The condition of a mail that is stored with its text, which nobody can compose again."""


class NewMail(NamedTuple):
    """A mail that is to be stored."""

    message_id: str
    subject: str
    data: bytes
    """The whole message as SMTP sends it."""
    recipients: tuple[str, ...]
    """Envelope addresses."""
    kind: Kind
    """`digest` for the admins, `copy` of a digest for one other reader, `post` for the program's own mail, `summary` of
    a week for the admins."""


def is_written(kind: str) -> bool:
    """Return whether a mail of this kind is stored with its text, which nobody can compose again."""
    return kind in {"post", "summary"}


class Result(NamedTuple):
    """The result of one try."""

    answer: str = ""
    """The server's words, or why there are none."""
    given_up: Mapping[str, str] = {}
    """Recipients that are not tried again, each with the server's answer."""
    put_off: Mapping[str, str] = {}
    """Recipients that are tried again, each with the server's answer, if others were served."""
    wait: float = 0.0
    """Seconds until the next try."""
    token: int | None = None
    """That of the lease, which must have claimed the mail; None for any mail that waits."""
    message_id: str | None = None
    """That of the text that was sent; None for the text that the mail has."""


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A mail of the outbox. Times are epoch seconds, as the wall clock has them now."""

    id: int
    """Negative while the mail is only in this process's memory."""
    message_id: str
    kind: Kind
    subject: str
    data: bytes
    """Empty for a mail whose text was deleted to make room, and for a digest or copy that waits for its text.

    A posted mail or a summary without its text cannot be sent.
    """
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


def add(database: Database, mail: NewMail, now: float) -> int:
    """Store a mail that is due at once, and return its id."""
    cursor = database.execute(
        """INSERT INTO mails (id, message_id, kind, subject, data, recipients, created, since, next_try)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id""",
        (
            database.next_id(),
            mail.message_id,
            mail.kind,
            one_line(mail.subject),
            mail.data,
            json.dumps(mail.recipients),
            now,
            now,
            now,
        ),
    )
    return int(cursor.fetchone()[0])


def rewrite(database: Database, mail: int, new: NewMail, most: int | None, token: int | None) -> bool:
    """Give a waiting digest or copy its text."""
    statement = f"""UPDATE mails SET message_id = :message_id, subject = :subject, data = :data, recipients = :to,
        most = :most, failed = 0 WHERE {_HELD}"""  # noqa: S608  a constant
    text = {"message_id": new.message_id, "subject": one_line(new.subject), "data": new.data, "most": most}
    values = {**text, "to": json.dumps(new.recipients), "mail": mail, "token": token}
    return database.execute(statement, values).rowcount > 0


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


def sent(database: Database, mail: int, answer: str, served: Sequence[str], now: float) -> None:
    """Note that the server accepted the mail for these recipients."""
    database.execute(
        """UPDATE mails SET state = 'sent', tries = tries + 1, last_error = ?, recipients = ?, finished = ?
        WHERE id = ?""",
        (one_line(answer), json.dumps(served), now, mail),
    )


def failed(database: Database, mail: int, result: Result, left: Sequence[str], now: float) -> bool:
    """Note a failed try; the mail is due again for the recipients that are left, after the result's wait."""
    statement = f"""UPDATE mails SET tries = tries + 1, last_error = :reason, next_try = :at, token = NULL,
        claimed = NULL, failed = 1, recipients = :left WHERE {_HELD}"""  # noqa: S608  a constant
    values = {
        "mail": mail,
        "reason": one_line(result.answer),
        "at": now + result.wait,
        "token": result.token,
        "left": json.dumps(left),
    }
    return database.execute(statement, values).rowcount > 0


def dead(database: Database, mail: int, result: Result, now: float) -> bool:
    """Give the mail up, unless an operator asks for a retry."""
    statement = f"""UPDATE mails SET state = 'dead', tries = tries + 1, last_error = :reason, finished = :now
        WHERE {_HELD}"""  # noqa: S608  a constant
    values = {"mail": mail, "reason": one_line(result.answer), "now": now, "token": result.token}
    return database.execute(statement, values).rowcount > 0


def split_off(database: Database, mail: int, refused: Mapping[str, str], now: float, wait: float | None = None) -> int:
    """Store a mail of its own, with the same text, for recipients with the server's answers; return its id.

    It is due after `wait` seconds, and is tried for a time of its own; without `wait` it is dead. For recipients of a
    digest, it is a copy.
    """
    values = {
        "id": database.next_id(),
        "to": json.dumps([*refused]),
        "reason": one_line(in_words(refused)),
        "state": "dead" if wait is None else "waiting",
        "now": now,
        "wait": wait or 0.0,
        "mail": mail,
    }
    row = database.execute(
        """INSERT INTO mails (id, message_id, kind, subject, data, recipients, tries, created, since, next_try,
            last_error, state, finished, part)
        SELECT :id, message_id, iif(kind = 'digest', 'copy', kind), subject, data, :to, tries + 1, created,
            iif(:state = 'dead', since, :now), :now + :wait, :reason, :state, iif(:state = 'dead', :now, NULL), 1
        FROM mails WHERE id = :mail
        RETURNING id""",
        values,
    ).fetchone()
    return int(row[0])


def remove(database: Database, mail: int, token: int | None) -> bool:
    """Remove a waiting mail that has nothing to report any more."""
    statement = f"DELETE FROM mails WHERE {_HELD}"  # noqa: S608  a constant
    return database.execute(statement, {"mail": mail, "token": token}).rowcount > 0


def retry(database: Database, mail: int | None, now: float) -> int:
    """Make dead and waiting mails due now, one or all; return how many."""
    return database.execute(
        f"""UPDATE mails SET next_try = :now, finished = NULL, announced = 0, failed = failed OR state = 'dead',
            token = CASE state WHEN 'dead' THEN NULL ELSE token END,
            since = CASE state WHEN 'dead' THEN :now ELSE since END,
            tries = CASE state WHEN 'dead' THEN 0 ELSE tries END,
            state = 'waiting'
        WHERE state != 'sent' AND (NOT {WRITTEN} OR data != x'') AND (:mail IS NULL OR id = :mail)""",  # noqa: S608  a constant
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


def in_words(refused: Mapping[str, str]) -> str:
    """Return the server's answers about recipients as one text."""
    return "; ".join(f"{address}: {words}" for address, words in refused.items())


def _mail(row: sqlite3.Row, at: Moment) -> StoredMail:
    values = dict(row)
    for internal in ("claimed", "most", "failed", "announced", "part"):
        del values[internal]
    values["recipients"] = tuple(json.loads(values["recipients"]))
    values["age"] = max(0.0, at.now - values["created"])
    values["tried_for"] = max(0.0, at.now - values["since"])
    for name in ("created", "since", "next_try", "finished"):
        if values[name] is not None:
            values[name] += at.ahead
    return StoredMail(**values)
