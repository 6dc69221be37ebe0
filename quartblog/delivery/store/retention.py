"""A full or old outbox -> deleted rows, and a count of every error and mail that is lost with them.

Counts are deleted last. Waiting mail is inside the bound: it is deleted only above half of the bound, so that the other
half is free for errors that no mail has reported.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from ..own_log import own_logger, report
from .details import forget_old_hours
from .mails import WRITTEN

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from .clock import Moment
    from .database import Database

logger = own_logger("outbox")

DAY = 86_400.0
"""Seconds after which a silent worker and the time of a digest are deleted."""

OLD_ERRORS: Final = "old_errors"
"""Errors that no mail had reported when their group grew too old."""
CROWDED_ERRORS: Final = "crowded_errors"
"""Errors that no mail had reported when their group was deleted to make room."""
CROWDED_MAILS: Final = "crowded_mails"
"""Mails that no recipient has got and that cannot be sent any more, because their text was deleted to make room."""

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
_SECONDS = 0.1
"""Seconds that one transaction deletes rows."""
_ROWS = 5_000
"""Rows that one transaction deletes at most."""
_OLD_ROWS = 1_000
"""Rows of one kind that one transaction deletes for their age at most."""
_CHUNK = 64
"""Rows that one statement deletes at most."""
_LARGE = 100_000
"""Bytes of a text that ends a chunk."""
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
    """Rows that may be deleted, the first ones first."""

    rows: str
    """Selects their ids, the bytes of a mail's text, and how many errors or mails are lost for `reason`."""
    change: str
    """What is done to them."""
    reason: str | None = None
    while_mail_has_half: bool = False


_THESE = " WHERE id IN (SELECT value FROM json_each(:ids))"
_NO_TEXT = """UPDATE mails SET data = x'', finished = coalesce(finished, :now),
        last_error = CASE state WHEN 'waiting' THEN 'the outbox was full' ELSE last_error END,
        state = CASE state WHEN 'waiting' THEN 'dead' ELSE state END"""
_NO_SAMPLE = "DELETE FROM samples"
_NO_MAIL = "DELETE FROM mails"
_NO_GROUP = "DELETE FROM groups"

# Only the original row of a mail counts; rows that were split off for single recipients do not.
_WAITING = f"""SELECT id, length(data), NOT part FROM mails WHERE state = 'waiting' AND {WRITTEN} AND data != x''
    ORDER BY created, abs(id)"""  # noqa: S608  a constant

# A copy needs its groups for its text.
_COPIED = """fingerprint IN (SELECT fingerprint FROM mail_groups JOIN mails ON mails.id = mail_id
    WHERE state = 'waiting' AND kind = 'copy')"""

# A mute goes with its group, so a muted group goes last.
_MUTED = "(coalesce(muted_until > :now, 0) OR muted_more IS NOT NULL)"

_STEPS = (
    # A digest and its copies get a new text at the next try, or after a retry if they are dead.
    _Step(
        f"""SELECT id, length(data), 0 FROM mails
        WHERE state = 'waiting' AND NOT {WRITTEN} AND token IS NULL AND data != x''""",  # noqa: S608  a constant
        "UPDATE mails SET data = x''",
    ),
    _Step("SELECT id, length(data), 0 FROM mails WHERE state = 'sent' AND data != x'' ORDER BY created", _NO_TEXT),
    # All but the newest of each group, the oldest first.
    _Step(
        """SELECT id, 0, 0 FROM samples AS one
        WHERE EXISTS (SELECT 1 FROM samples WHERE group_id = one.group_id AND id > one.id) ORDER BY id""",
        _NO_SAMPLE,
    ),
    _Step("SELECT id, 0, 0 FROM ids ORDER BY id", "DELETE FROM ids"),
    _Step("SELECT id, 0, 0 FROM samples ORDER BY id", _NO_SAMPLE),
    _Step(
        f"""SELECT id, length(data), {WRITTEN} AND NOT part FROM mails WHERE state = 'dead' AND data != x''
        ORDER BY {WRITTEN}, created""",  # noqa: S608  a constant
        _NO_TEXT,
        CROWDED_MAILS,
    ),
    _Step("SELECT id, 0, 0 FROM mails WHERE state = 'sent' ORDER BY created", _NO_MAIL),
    _Step(
        f"""SELECT id, 0, 0 FROM groups WHERE resolved OR (count <= reported AND NOT {_COPIED})
        ORDER BY {_MUTED}, resolved DESC, touched""",  # noqa: S608  a constant
        _NO_GROUP,
    ),
    _Step(_WAITING, _NO_TEXT, CROWDED_MAILS, while_mail_has_half=True),
    # The next digest reports the errors of a dead one. The errors of a dead copy are lost for its reader.
    _Step(
        "SELECT id, 0, kind = 'copy' AND NOT part FROM mails WHERE state = 'dead' ORDER BY created",
        _NO_MAIL,
        CROWDED_MAILS,
    ),
    _Step(
        f"SELECT id, 0, count - reported FROM groups WHERE NOT {_MUTED} ORDER BY touched",  # noqa: S608  a constant
        _NO_GROUP,
        CROWDED_ERRORS,
    ),
    _Step("SELECT id, 0, count - reported FROM groups ORDER BY touched", _NO_GROUP, CROWDED_ERRORS),
    _Step(_WAITING, _NO_TEXT, CROWDED_MAILS),
)


def used_bytes(database: Database) -> int:
    """Return the bytes of the file that are in use."""
    [used] = database.execute(
        """SELECT page_size * (page_count - freelist_count)
        FROM pragma_page_size, pragma_page_count, pragma_freelist_count"""
    ).fetchone()
    return int(used)


def is_full(database: Database, max_bytes: int) -> bool:
    """Return whether more than `max_bytes` are used, or than MEMORY_BYTES in memory."""
    return used_bytes(database) > _bound(database, max_bytes)


def to_size(database: Database, max_bytes: int, now: float, first: int = 0) -> tuple[Counter[str], int | None]:
    """Make room when more than `max_bytes` are used, down to nine tenths. Return the losses by reason.

    A transaction keeps other processes from writing, so this one ends before 0.2 s are over. If that was too early, the
    second value is the `first` step of the next one; else it is None.
    """
    lost: Counter[str] = Counter()
    bound = _bound(database, max_bytes)
    if used_bytes(database) <= bound:
        return lost, None
    for number in range(first, len(_STEPS)):
        ended = _take(database, _STEPS[number], bound, now, lost)
        if ended is not None:
            break
    _note(database, lost, now)
    return lost, number if ended is False else None


def _take(database: Database, step: _Step, bound: int, now: float, lost: Counter[str]) -> bool | None:
    """Take the step until a tenth of the bound is free. Return whether it is; None if nothing is left to delete."""
    above_half = _waiting_bytes(database) - bound // 2 if step.while_mail_has_half else math.inf
    if above_half <= 0:
        return None
    rows = database.execute(f"{step.rows} LIMIT {_ROWS}", {"now": now}).fetchall()
    ends = time.monotonic() + _SECONDS
    for chunk in _chunks(rows, above_half):
        ids = json.dumps([number for number, _, _ in chunk])
        database.execute(step.change + _THESE, {"ids": ids, "now": now})
        if step.reason is not None:
            lost[step.reason] += sum(amount for _, _, amount in chunk)
        if used_bytes(database) <= bound * 9 // 10:
            return True
        if time.monotonic() > ends:
            return False
    return False if len(rows) == _ROWS else None


def _chunks(rows: Sequence[sqlite3.Row], most_text: float) -> Iterator[list[sqlite3.Row]]:
    """Yield rows with `most_text` bytes of text, few at first: after each chunk there may be enough room.

    One row at a time would take long while another thread computes: the thread waits for the interpreter each time.
    """
    chunk: list[sqlite3.Row] = []
    size, end = 1, 0.0
    for row in rows:
        if end >= most_text:
            break
        chunk.append(row)
        end += row[1]
        if len(chunk) >= size or row[1] >= _LARGE:
            yield chunk
            chunk, size = [], min(2 * size, _CHUNK)
    if chunk:
        yield chunk


_OLD_SAMPLES = "DELETE FROM samples WHERE id IN (SELECT id FROM samples WHERE touched < :oldest LIMIT :most)"
# While a digest waits, so do all errors that no mail has reported.
_OLD_GROUPS = f"""DELETE FROM groups WHERE id IN
        (SELECT id FROM groups WHERE touched < :oldest AND NOT {_MUTED} AND (resolved
            OR (count <= reported AND NOT {_COPIED})
            OR NOT EXISTS (SELECT 1 FROM mails WHERE state = 'waiting' AND kind = 'digest')) LIMIT :most)
    RETURNING (count - reported) * (NOT resolved)"""  # noqa: S608  a constant
_OLD_MAILS = "DELETE FROM mails WHERE id IN (SELECT id FROM mails WHERE finished < :oldest LIMIT :most)"


def by_age(database: Database, at: Moment, max_age: float) -> tuple[Counter[str], bool]:
    """Delete rows that ended more than `max_age` seconds ago. Return the losses by reason, and whether there are more.

    As in `to_size`, more rows are for another transaction.
    """
    now = at.now
    values = {"oldest": now - max_age, "now": now, "most": _OLD_ROWS}
    samples = database.execute(_OLD_SAMPLES, values).rowcount
    groups = database.execute(_OLD_GROUPS, values).fetchall()
    mails = database.execute(_OLD_MAILS, values).rowcount
    database.execute("DELETE FROM digests WHERE left < ?", (now - DAY,))
    forget_old_hours(database, at)
    lost = Counter({OLD_ERRORS: sum(amount for [amount] in groups)})
    _note(database, lost, now)
    return lost, _OLD_ROWS in {samples, len(groups), mails}


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


def _bound(database: Database, max_bytes: int) -> int:
    return min(max_bytes, MEMORY_BYTES) if database.in_memory else max_bytes


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
