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
    base: int
    """Errors that had been reported before; 0 in a copy."""
    level: int
    logger: str
    route: str | None


class Undelivered(NamedTuple):
    """A dead digest or copy that no later digest has named."""

    id: int
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
    """The errors of a digest that no copy has been given yet."""
    stale: bool
    """Whether its text, if it has one, reports something else."""
    fixed: bool
    """Whether its text stays, because the server may have accepted it without this outbox having noted it."""
    deleted: bool
    """Whether the outbox has deleted groups that a copy was to report."""
    most: int | None
    """Bytes that the mail server takes at most, as far as is known."""
    undelivered: Sequence[Undelivered]
    """Earlier mails that a digest is to name."""


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
    """Return what a waiting digest or copy is to report now; None for an unknown mail.

    A copy without a content is a text of an earlier version, which is sent as it is.
    """
    row = database.execute("SELECT kind, data = x'' AS empty, failed, most FROM mails WHERE id = ?", (mail,)).fetchone()
    if row is None:
        return None
    is_digest = row["kind"] == "digest"
    before = _counts(database, mail)
    query = f"""WITH mine AS (SELECT fingerprint, count AS new, base FROM mail_groups WHERE mail_id = :mail)
        SELECT groups.id, base + new - copied AS added, fingerprint, new, base, level, logger, route
        FROM ({group_rows.UNREPORTED_COUNTS if is_digest else "SELECT * FROM mine"}) JOIN groups USING (fingerprint)
        WHERE NOT resolved ORDER BY refusals > 0, level DESC, new DESC, groups.id"""  # noqa: S608  constants
    rows = database.execute(query, {"mail": mail, "now": at.now}).fetchall()
    shares = [Share(*row[2:]) for row in rows]
    known = "SELECT count(*) FROM mail_groups JOIN groups USING (fingerprint) WHERE mail_id = ?"
    return Content(
        shares,
        [
            replace(group, reported=group.count - row["new"])
            for number, row in enumerate(rows[:LISTED])
            if (group := group_rows.get(database, row["id"], samples if number < DETAILED else 1, at)) is not None
        ],
        [Share(*row[2:])._replace(new=row["added"]) for row in rows if is_digest and row["added"] > 0],
        bool(row["empty"]) or before != {share.fingerprint: share.new for share in shares},
        not (row["empty"] or row["failed"]),
        not is_digest and database.execute(known, (mail,)).fetchone()[0] < len(before),
        row["most"],
        _undelivered(database, mail) if is_digest else (),
    )


def compose(database: Database, mail: int, text: NewMail, what: Content, token: int | None) -> bool:
    """Give a waiting digest or copy its text and content. Else as mails.failed."""
    if not mail_rows.rewrite(database, mail, text, what.most, token):
        return False
    database.execute("DELETE FROM mail_groups WHERE mail_id = ?", (mail,))
    rows = [(mail, share.fingerprint, share.new, share.base) for share in what.shares]
    database.executemany("INSERT INTO mail_groups (mail_id, fingerprint, count, base) VALUES (?, ?, ?, ?)", rows)
    if text.kind == "digest":
        # A group that comes back after this has 1 again, and so a digest of its own, whatever the wall clock says.
        reported = "SELECT fingerprint FROM mail_groups WHERE mail_id = ?"
        database.execute(f"UPDATE groups SET reopened = 2 WHERE reopened AND fingerprint IN ({reported})", (mail,))  # noqa: S608  a constant
    named = [(mail, each.id) for each in what.undelivered]
    database.executemany("UPDATE mails SET announced = ? WHERE id = ?", named)
    return True


def hand_over(database: Database, what: Content, copies: Mapping[str, Sequence[Share]], token: int, now: float) -> None:
    """Add errors of a digest to the copies for these addresses, and note that no copy needs them again."""
    for address, shares in copies.items():
        copy = _reopened(database, address, token, now)
        if copy is None:
            copy = mail_rows.add(database, mail_rows.NewMail("", "", b"", (address,), "copy"), now)
        _keep(database, copy, {share.fingerprint: share.new for share in shares})
    handed = [(share.base + share.new, share.fingerprint) for share in what.shares]
    database.executemany("UPDATE groups SET copied = max(copied, ?) WHERE fingerprint = ?", handed)


def _reopened(database: Database, address: str, token: int | None, now: float) -> int | None:
    """Return the copy that waits for the address, for further errors; None if there is none to add to.

    It loses its text and its Message-ID, so that no result of an earlier try counts for its new content. A copy that
    the server may have takes nothing in.
    """
    row = database.execute(
        """UPDATE mails SET data = x'', message_id = '', since = ? WHERE id =
            (SELECT id FROM mails WHERE state = 'waiting' AND kind = 'copy' AND lower(recipients) = lower(?)
                AND (token IS NULL OR token = ?) AND (failed OR data = x'')
                AND EXISTS (SELECT 1 FROM mail_groups WHERE mail_id = mails.id)
            LIMIT 1)
        RETURNING id""",
        (now, json.dumps((address,)), token),
    ).fetchone()
    return None if row is None else int(row[0])


def _keep(database: Database, mail: int, more: Mapping[str, int]) -> None:
    """Add so many errors of each fingerprint to the content of a copy."""
    database.executemany(
        """INSERT INTO mail_groups (mail_id, fingerprint, count) VALUES (?, ?, ?)
        ON CONFLICT DO UPDATE SET count = count + excluded.count""",
        [(mail, fingerprint, count) for fingerprint, count in more.items()],
    )


def _counts(database: Database, mail: int) -> dict[str, int]:
    """Return the content of the mail at its last try: errors by fingerprint."""
    return dict(database.execute("SELECT fingerprint, count FROM mail_groups WHERE mail_id = ?", (mail,)).fetchall())


def settle(database: Database, mail: int, result: Result, at: Moment) -> bool:
    """Note that the server accepted a mail, of any kind, for all recipients without a refusal. As Sending.sent."""
    row = database.execute("SELECT * FROM mails WHERE id = ?", (mail,)).fetchone()
    if row is None:
        return False
    if row["state"] == "sent" or result.message_id not in {None, row["message_id"]}:
        return True
    _bury(database, mail, result, at.now)
    for address, words in result.put_off.items():
        copy = None if mail_rows.is_written(row["kind"]) else _reopened(database, address, result.token, at.now)
        if copy is None:
            copy = mail_rows.split_off(database, mail, {address: words}, at.now, result.wait)
        _keep(database, copy, _counts(database, mail))
    missed = result.given_up.keys() | result.put_off.keys()
    served = [address for address in json.loads(row["recipients"]) if address not in missed]
    mail_rows.sent(database, mail, result.answer, served, at.now)
    if row["kind"] == "digest":
        # Not `reported + count`: two digests may hold the same errors after an outage of the disk or a retry.
        database.execute(
            """UPDATE groups SET reported = max(reported, min(groups.count, base + held.count)),
                copied = max(copied, min(groups.count, base + held.count)), last_reported = :now, died = 0,
                reopened = (reopened = 1)
            FROM mail_groups AS held WHERE held.mail_id = :mail AND held.fingerprint = groups.fingerprint""",
            {"mail": mail, "now": at.now},
        )
        count(database, at.now)
    return True


def put_back(database: Database, mail: int, result: Result, now: float) -> bool:
    """Note that no recipient was served. As Sending.failed."""
    row = database.execute("SELECT kind, recipients FROM mails WHERE id = ?", (mail,)).fetchone()
    if row is None:
        return False
    left = json.loads(row["recipients"])
    # A digest is tried for all admins again, because each try may be about more errors.
    if row["kind"] != "digest":
        left = [address for address in left if address not in result.given_up]
        if not left:
            return give_up(database, mail, result, now, refused=True)
    if not mail_rows.failed(database, mail, result, left, now):
        return False
    if row["kind"] != "digest":
        _bury(database, mail, result, now)
    return True


def give_up(database: Database, mail: int, result: Result, now: float, *, refused: bool) -> bool:
    """Note that a mail is not tried again. As Sending.dead.

    A dead digest counts against the cap. If the server refused it, its groups make no digest due before the next power
    of two or the end of their window. If it did not refuse the recipients, the content of a group may be the reason.
    """
    if not mail_rows.dead(database, mail, result, now):
        return False
    _unname(database, mail)
    if database.execute("SELECT 1 FROM mails WHERE id = ? AND kind = 'digest'", (mail,)).fetchone():
        count(database, now)
        if refused:
            spoiled = not (result.given_up or result.put_off)
            database.execute(
                """UPDATE groups SET died = held.count, last_reported = :now, refusals = refusals + :spoiled,
                    refused_at = iif(:spoiled, :now, refused_at)
                FROM mail_groups AS held WHERE held.mail_id = :mail AND held.fingerprint = groups.fingerprint""",
                {"mail": mail, "now": now, "spoiled": spoiled},
            )
    return True


def withdraw(database: Database, mail: int, token: int | None) -> bool:
    """Remove a waiting mail that has nothing to report any more. Else as mails.failed."""
    _unname(database, mail)
    return mail_rows.remove(database, mail, token)


def discard(database: Database, mail: int) -> bool:
    """Remove a mail, whatever its state. The next digest reports the errors of a removed one."""
    row = database.execute("DELETE FROM mails WHERE id = ? RETURNING state", (mail,)).fetchone()
    if row is None:
        return False
    # The readers of a sent digest know of the mails that it named.
    if row["state"] != "sent":
        _unname(database, mail)
    return True


def forget_refusals(database: Database, mail: int | None) -> None:
    """Show the groups of one refused digest, or of all, with all details again."""
    database.execute(
        """UPDATE groups SET died = 0, refusals = 0 WHERE died + refusals > 0 AND fingerprint IN
            (SELECT fingerprint FROM mail_groups WHERE :mail IS NULL OR mail_id = :mail)""",
        {"mail": mail},
    )


def _unname(database: Database, mail: int) -> None:
    """Let another digest name the mails that this one was to name."""
    database.execute("UPDATE mails SET announced = 0 WHERE announced = ?", (mail,))


def _bury(database: Database, mail: int, result: Result, now: float) -> None:
    """Make a dead letter of its own for the recipients that are given up, so that a retry reaches nobody else again."""
    if result.given_up:
        number = mail_rows.split_off(database, mail, result.given_up, now)
        _keep(database, number, _counts(database, mail))


def count(database: Database, now: float) -> None:
    """Count a digest, or what copies get beside it, against the cap."""
    database.execute("INSERT INTO digests VALUES (?)", (now,))


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
        """SELECT id, recipients, last_error, kind = 'digest' FROM mails
        WHERE state = 'dead' AND kind != 'post' AND announced IN (0, ?) ORDER BY finished, abs(id)""",
        (mail,),
    ).fetchall()
    return [
        Undelivered(number, tuple(json.loads(to)), reason, sum(_counts(database, number).values()) * to_admins)
        for number, to, reason, to_admins in rows
    ]
