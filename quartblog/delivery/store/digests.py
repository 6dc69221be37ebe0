"""Errors that no mail has reported -> the content of each digest -> the result of each try, in one transaction each.

A digest to the admins reports all errors that no mail has reported yet. Its content is collected anew before each try.
The errors count as reported once the mail server has accepted it, so a digest that is given up loses none.

A copy of a digest is for one other reader, or for an admin whom the server put off. It has a content of its own, to
which later digests add while it waits.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from . import groups as group_rows
from . import mails as mail_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .clock import Moment
    from .database import Database
    from .groups import Group
    from .mails import NewMail, Result

DETAILED = 20
"""Groups with all their samples in a content; the others have their newest one."""
LISTED = 200
"""Groups that a content has; it counts the rest."""


class Share(NamedTuple):
    """The errors of one group in a mail."""

    fingerprint: str
    new: int
    """Errors that the mail reports."""
    level: int
    logger: str
    route: str | None


class Undelivered(NamedTuple):
    """A dead digest or copy that no later digest has named."""

    id: int
    subject: str
    recipients: tuple[str, ...]
    reason: str
    errors: int
    """Errors that it was to report to the admins; 0 for a copy, because the digest itself reached somebody."""


class Content(NamedTuple):
    """What a digest or a copy is to report now."""

    shares: Sequence[Share]
    """All groups, the worst first."""
    groups: Sequence[Group]
    """The first LISTED of them. The mail reports `count - reported` errors of each."""
    added: Sequence[Share]
    """The errors that the mail did not hold at its last try."""
    stale: bool
    """Whether its text, if it has one, reports something else."""
    most: int | None
    """Bytes that the mail server takes at most, as far as is known."""
    undelivered: Sequence[Undelivered]
    """Earlier mails that a digest is to name."""


class Draft(NamedTuple):
    """A text for a content, and what other readers get."""

    text: NewMail
    content: Content
    copies: Mapping[str, Sequence[Share]]
    """Further errors for the copies of these addresses."""


def begin(database: Database, recipients: Sequence[str], now: float) -> int:
    """Store a digest without a text, which is due at once; return its id."""
    return mail_rows.add(database, mail_rows.NewMail("", "", b"", tuple(recipients), "digest"), now)


def is_due(database: Database, window: float, batch: float, now: float) -> bool:
    """Return whether a digest is to begin: none waits, none has left within `batch` seconds, and a group is due."""
    waiting = "SELECT 1 FROM mails WHERE state = 'waiting' AND kind = 'digest'"
    if database.execute(waiting).fetchone() is not None or within(database, batch, now):
        return False
    return group_rows.any_due(database, window, now)


def content(database: Database, mail: int, samples: int, at: Moment) -> Content | None:
    """Return what a waiting digest or copy is to report now; None for an unknown mail."""
    row = database.execute("SELECT kind, data = x'' AS empty, most FROM mails WHERE id = ?", (mail,)).fetchone()
    if row is None:
        return None
    source = group_rows.UNREPORTED_COUNTS if row["kind"] == "digest" else "SELECT fingerprint, count AS new FROM mine"
    query = f"""WITH mine AS (SELECT * FROM mail_groups WHERE mail_id = :mail)
        SELECT groups.id, fingerprint, new, level, logger, route FROM ({source}) JOIN groups USING (fingerprint)
        WHERE {group_rows.OPEN} ORDER BY died > 0, level DESC, new DESC, groups.id"""  # noqa: S608  constants
    rows = database.execute(query, {"mail": mail, "now": at.now}).fetchall()
    shares = [Share(*row[1:]) for row in rows]
    before = counts(database, mail)
    return Content(
        shares,
        [
            replace(group, reported=group.count - row["new"])
            for number, row in enumerate(rows[:LISTED])
            if (group := group_rows.get(database, row["id"], samples if number < DETAILED else 1, at)) is not None
        ],
        [
            share._replace(new=share.new - before.get(share.fingerprint, 0))
            for share in shares
            if share.new > before.get(share.fingerprint, 0)
        ],
        bool(row["empty"]) or before != {share.fingerprint: share.new for share in shares},
        row["most"],
        _undelivered(database, mail) if row["kind"] == "digest" else (),
    )


def compose(database: Database, mail: int, draft: Draft, token: int | None, now: float) -> bool:
    """Give a waiting digest or copy its text and content, and hand the copies their errors. Else as mails.failed."""
    content = draft.content
    if not mail_rows.rewrite(database, mail, draft.text, content.most, token):
        return False
    database.execute("DELETE FROM mail_groups WHERE mail_id = ?", (mail,))
    keep(database, mail, {share.fingerprint: share.new for share in content.shares})
    for address, shares in draft.copies.items():
        copy = reopen_copy(database, address, token)
        if copy is None:
            copy = mail_rows.add(database, mail_rows.NewMail("", "", b"", (address,), "copy"), now)
        keep(database, copy, {share.fingerprint: share.new for share in shares})
    named = [(mail, each.id) for each in content.undelivered]
    database.executemany("UPDATE mails SET announced = ? WHERE id = ?", named)
    return True


def reopen_copy(database: Database, address: str, token: int | None) -> int | None:
    """Return the copy that waits for the address, for further errors; None if there is none to add to.

    It loses its text and its Message-ID, so that no result of an earlier try counts for its new content. A copy that
    another leader may be sending takes nothing in.
    """
    row = database.execute(
        """UPDATE mails SET data = x'', message_id = '' WHERE id =
            (SELECT id FROM mails WHERE state = 'waiting' AND kind = 'copy' AND lower(recipients) = lower(?)
                AND (token IS NULL OR token = ?) LIMIT 1)
        RETURNING id""",
        (json.dumps((address,)), token),
    ).fetchone()
    return None if row is None else int(row[0])


def keep(database: Database, mail: int, more: Mapping[str, int]) -> None:
    """Add so many errors of each fingerprint to the content of the mail."""
    database.executemany(
        """INSERT INTO mail_groups (mail_id, fingerprint, count) VALUES (?, ?, ?)
        ON CONFLICT DO UPDATE SET count = count + excluded.count""",
        [(mail, fingerprint, count) for fingerprint, count in more.items()],
    )


def counts(database: Database, mail: int) -> dict[str, int]:
    """Return the content of the mail at its last try: errors by fingerprint."""
    return dict(database.execute("SELECT fingerprint, count FROM mail_groups WHERE mail_id = ?", (mail,)).fetchall())


def settle(database: Database, mail: int, result: Result, now: float) -> bool:
    """Note that the server accepted a mail, of any kind, for all recipients without a refusal. As Outbox.sent."""
    row = database.execute("SELECT kind, state, message_id, recipients FROM mails WHERE id = ?", (mail,)).fetchone()
    if row is None:
        return False
    if row["state"] == "sent" or result.message_id not in {None, row["message_id"]}:
        return True
    _bury(database, mail, result, now)
    for address, words in result.put_off.items():
        copy = None if row["kind"] == "post" else reopen_copy(database, address, result.token)
        if copy is None:
            copy = mail_rows.split_off(database, mail, {address: words}, "waiting", now + result.wait)
        keep(database, copy, counts(database, mail))
    missed = result.given_up.keys() | result.put_off.keys()
    served = [address for address in json.loads(row["recipients"]) if address not in missed]
    mail_rows.sent(database, mail, result.answer, served, now)
    if row["kind"] == "digest":
        database.execute(
            """UPDATE groups SET reported = min(groups.count, reported + held.count), last_reported = :now,
                reopened = 0, died = 0
            FROM mail_groups AS held WHERE held.mail_id = :mail AND held.fingerprint = groups.fingerprint""",
            {"mail": mail, "now": now},
        )
        database.execute("INSERT INTO digests VALUES (?)", (now,))
    return True


def put_back(database: Database, mail: int, result: Result, now: float) -> bool:
    """Note that no recipient was served. As Outbox.failed."""
    row = database.execute("SELECT recipients FROM mails WHERE id = ?", (mail,)).fetchone()
    left = [address for address in json.loads(row["recipients"]) if address not in result.given_up] if row else []
    if not left or not mail_rows.failed(database, mail, result, left, now):
        return False
    _bury(database, mail, result, now)
    return True


def give_up(database: Database, mail: int, result: Result, now: float, *, refused: bool) -> bool:
    """Note that a mail is not tried again. As Outbox.dead.

    A digest that the server refuses for good counts against the cap. Its groups make no digest due before the next
    power of two or the end of their window, and the next digest shows each of them in one line, because their content
    may be the reason.
    """
    if not mail_rows.dead(database, mail, result, now):
        return False
    unname(database, mail)
    is_digest = "SELECT 1 FROM mails WHERE id = ? AND kind = 'digest'"
    if refused and database.execute(is_digest, (mail,)).fetchone():
        database.execute(
            """UPDATE groups SET died = held.count, last_reported = :now
            FROM mail_groups AS held WHERE held.mail_id = :mail AND held.fingerprint = groups.fingerprint""",
            {"mail": mail, "now": now},
        )
        database.execute("INSERT INTO digests VALUES (?)", (now,))
    return True


def forget_refusals(database: Database, mail: int | None) -> None:
    """Show the groups of one refused digest, or of all, with all details again."""
    database.execute(
        """UPDATE groups SET died = 0 WHERE died AND fingerprint IN
            (SELECT fingerprint FROM mail_groups WHERE :mail IS NULL OR mail_id = :mail)""",
        {"mail": mail},
    )


def unname(database: Database, mail: int) -> None:
    """Let another digest name the mails that this one was to name."""
    database.execute("UPDATE mails SET announced = 0 WHERE announced = ?", (mail,))


def _bury(database: Database, mail: int, result: Result, now: float) -> None:
    """Make a dead letter of its own for the recipients that are given up, so that a retry reaches nobody else again."""
    if result.given_up:
        number = mail_rows.split_off(database, mail, result.given_up, "dead", now)
        keep(database, number, counts(database, mail))


def within(database: Database, seconds: float, now: float) -> int:
    """Count the digests that left, or were given up, less than so many seconds ago."""
    return int(database.execute("SELECT count(*) FROM digests WHERE left > ?", (now - seconds,)).fetchone()[0])


def since(database: Database, earliest: float) -> list[float]:
    """Return the steady times of the digests that left after a steady time."""
    return [left for [left] in database.execute("SELECT left FROM digests WHERE left > ?", (earliest,))]


def latest(database: Database, limit: int, now: float) -> list[float]:
    """Return how many seconds ago the last digests left, the latest first."""
    rows = database.execute("SELECT left FROM digests ORDER BY left DESC LIMIT ?", (limit,))
    return [max(0.0, now - left) for [left] in rows]


def _undelivered(database: Database, mail: int) -> list[Undelivered]:
    rows = database.execute(
        """SELECT id, subject, recipients, last_error, kind = 'digest' FROM mails
        WHERE state = 'dead' AND kind != 'post' AND announced IN (0, ?) ORDER BY finished, abs(id)""",
        (mail,),
    ).fetchall()
    return [
        Undelivered(number, subject, tuple(json.loads(to)), reason, sum(counts(database, number).values()) * to_admins)
        for number, subject, to, reason, to_admins in rows
    ]
