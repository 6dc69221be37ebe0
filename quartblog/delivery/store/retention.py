"""A full or old outbox -> deleted rows, and a count of every error and mail that is lost with them.

Counts are deleted last. Waiting mail is inside the bound: it is deleted only above half of the bound, so that the other
half is free for errors that no mail has reported.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from ..own_log import own_logger, report

if TYPE_CHECKING:
    from .database import Database

logger = own_logger("outbox")

DAY = 86_400.0
"""Seconds after which a silent worker and the time of a digest are deleted."""

OLD_ERRORS: Final = "old_errors"
"""Errors that no mail had reported when their group grew too old."""
CROWDED_ERRORS: Final = "crowded_errors"
"""Errors that no mail had reported when their group was deleted to make room."""
CROWDED_MAILS: Final = "crowded_mails"
"""Mails that no recipient has got, whose text was deleted to make room; they cannot be sent any more."""

_SENTENCES = {
    OLD_ERRORS: "Errors were deleted for their age before a mail reported them",
    CROWDED_ERRORS: "The outbox is full: errors were deleted before a mail reported them",
    CROWDED_MAILS: "The outbox is full: mails that no recipient got lost their text",
}

_SHORT = {
    CROWDED_ERRORS: "outbox full: errors were dropped",
    CROWDED_MAILS: "outbox full: mails were dropped",
}
RECENT = 3_600.0
"""Seconds for which a health check names what a full outbox dropped."""

MEMORY_BYTES = 8 * 1024 * 1024
"""Bytes that errors and mails take at most while they are only in memory."""
_CHUNK = 64
"""Rows that are deleted at most before the size is read again. The first time it is one, as rows may be large."""
_PAGES = 2_000
"""Pages that are returned to the file system at a time, in about 20 ms."""


class LossLog:
    """Logs what one process loses: the first time, and again when it has doubled since."""

    def __init__(self) -> None:
        """Begin without losses."""
        self._lost: Counter[str] = Counter()
        self._logged: Counter[str] = Counter()

    def note(self, lost: Counter[str]) -> None:
        """Add the losses of a committed transaction."""
        for reason, count in lost.items():
            self._lost[reason] += count
            if count and self._lost[reason] >= 2 * self._logged[reason]:
                self._logged[reason] = self._lost[reason]
                text = f"{_SENTENCES[reason]}: {self._lost[reason]} since this process started"
                report(text)
                logger.warning("%s", text)


class _Step(NamedTuple):
    """Rows that may be deleted. The statement returns, for each row, how many errors or mails are lost for `reason`."""

    statement: str
    reason: str | None = None
    while_mail_has_half: bool = False


def _without_text(condition: str, order: str) -> str:
    return f"""UPDATE mails SET data = x'', finished = coalesce(finished, :now),
            last_error = CASE state WHEN 'waiting' THEN 'the outbox was full' ELSE last_error END,
            state = CASE state WHEN 'waiting' THEN 'dead' ELSE state END
        WHERE id IN (SELECT id FROM mails WHERE data != x'' AND {condition} ORDER BY {order} LIMIT :limit)
        RETURNING 1"""  # noqa: S608  constants


_WAITING = _without_text("state = 'waiting' AND kind = 'post'", "created, abs(id)")

_DELETED = """DELETE FROM mails WHERE id IN
        (SELECT id FROM mails WHERE state = '{}' ORDER BY created LIMIT :limit)
    RETURNING 1"""

_STEPS = (
    # A digest and its copies get a new text at the next try.
    _Step(
        """UPDATE mails SET data = x'' WHERE id IN
            (SELECT id FROM mails WHERE state = 'waiting' AND kind != 'post' AND token IS NULL AND data != x''
                LIMIT :limit)
        RETURNING 1"""
    ),
    _Step(_without_text("state = 'sent'", "created")),
    # All but the newest of each group, the oldest first.
    _Step(
        """DELETE FROM samples WHERE id IN
            (SELECT id FROM samples AS one WHERE EXISTS
                (SELECT 1 FROM samples WHERE group_id = one.group_id AND id > one.id)
            ORDER BY id LIMIT :limit)
        RETURNING 1"""
    ),
    _Step("DELETE FROM samples WHERE id IN (SELECT id FROM samples ORDER BY id LIMIT :limit) RETURNING 1"),
    _Step(_without_text("state = 'dead'", "created"), CROWDED_MAILS),
    _Step(_DELETED.format("sent")),
    _Step(
        """DELETE FROM groups WHERE id IN
            (SELECT id FROM groups WHERE resolved OR count <= reported
            ORDER BY resolved DESC, touched LIMIT :limit)
        RETURNING 1"""
    ),
    _Step(_WAITING, CROWDED_MAILS, while_mail_has_half=True),
    _Step(_DELETED.format("dead")),
    _Step(
        """DELETE FROM groups WHERE id IN (SELECT id FROM groups ORDER BY touched LIMIT :limit)
        RETURNING count - reported""",
        CROWDED_ERRORS,
    ),
    _Step(_WAITING, CROWDED_MAILS),
)


def used_bytes(database: Database) -> int:
    """Return the bytes of the file that are in use."""
    [used] = database.execute(
        """SELECT page_size * (page_count - freelist_count)
        FROM pragma_page_size, pragma_page_count, pragma_freelist_count"""
    ).fetchone()
    return int(used)


def to_size(database: Database, max_bytes: int, now: float) -> Counter[str]:
    """Make room when more than `max_bytes` are used, down to nine tenths. Return the losses by reason."""
    lost: Counter[str] = Counter()
    max_bytes = min(max_bytes, MEMORY_BYTES) if database.in_memory else max_bytes
    if used_bytes(database) <= max_bytes:
        return lost
    target = max_bytes * 9 // 10
    for step in _STEPS:
        chunk = 1
        while used_bytes(database) > target:
            if step.while_mail_has_half and _waiting_bytes(database) <= max_bytes // 2:
                break
            gone = database.execute(step.statement, {"limit": chunk, "now": now}).fetchall()
            if not gone:
                break
            if step.reason is not None:
                lost[step.reason] += sum(amount for [amount] in gone)
            chunk = 1 if step.while_mail_has_half else min(2 * chunk, _CHUNK)
    _note(database, lost, now)
    return lost


def by_age(database: Database, now: float, max_age: float) -> Counter[str]:
    """Delete rows that ended more than `max_age` seconds ago. Return the losses by reason."""
    oldest = {"oldest": now - max_age}
    database.execute("DELETE FROM samples WHERE touched < :oldest", oldest)
    # While a digest waits, so do all errors that no mail has reported.
    gone = database.execute(
        """DELETE FROM groups WHERE touched < :oldest AND (resolved OR count <= reported
            OR NOT EXISTS (SELECT 1 FROM mails WHERE state = 'waiting' AND kind = 'digest'))
        RETURNING (count - reported) * (NOT resolved)""",
        oldest,
    ).fetchall()
    database.execute("DELETE FROM mails WHERE finished < :oldest", oldest)
    database.execute("DELETE FROM digests WHERE left < ?", (now - DAY,))
    database.execute("DELETE FROM workers WHERE at < ?", (now - DAY,))
    lost = Counter({OLD_ERRORS: sum(amount for [amount] in gone)})
    _note(database, lost, now)
    return lost


def recent(database: Database, now: float) -> tuple[str, ...]:
    """Return, in short words without paths, what was dropped within RECENT seconds because the outbox was full."""
    rows = database.execute("SELECT reason FROM losses WHERE at > ? ORDER BY reason", (now - RECENT,))
    return tuple(_SHORT[reason] for [reason] in rows if reason in _SHORT)


def give_back(database: Database) -> None:
    """Return some of the free pages to the file system."""
    [free] = database.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(free, _PAGES)):
        # Each call frees one page: the sqlite3 module steps a statement without rows only once.
        database.execute("PRAGMA incremental_vacuum")


def _waiting_bytes(database: Database) -> int:
    query = "SELECT coalesce(sum(length(data)), 0) FROM mails WHERE state = 'waiting'"
    return int(database.execute(query).fetchone()[0])


def _note(database: Database, lost: Counter[str], now: float) -> None:
    for reason, count in lost.items():
        if count:
            database.execute(
                """INSERT INTO losses (reason, count, at) VALUES (?, ?, ?)
                ON CONFLICT (reason) DO UPDATE SET count = count + excluded.count, at = excluded.at""",
                (reason, count, now),
            )
