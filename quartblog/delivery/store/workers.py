"""Heartbeats of processes -> rows -> Workers, the Lease of the leader, and the Totals of the outbox."""

from __future__ import annotations

import json
import math
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..statistics import COUNTS, Statistics
from .clock import SYSTEM
from .retention import CROWDED_ERRORS, CROWDED_MAILS, DAY, OLD_ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .clock import Moment
    from .database import Database

SILENT = 10.0
"""Seconds after the last heartbeat during which a worker counts as running."""
LEASE = 5.0
"""Seconds after which another worker may take the lead from a leader that has not renewed it.

Longer than BUSY_SECONDS and the second between two renewals: a leader that waits for a busy file keeps the lead.
"""


@dataclass(frozen=True, slots=True)
class Worker:
    """The last heartbeat of one process."""

    name: str
    leader: bool
    at: float
    """Epoch seconds, as the wall clock has them now."""
    silent: float
    """Seconds since then."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    awake: float = math.inf
    """Seconds since a worker came back from a pause longer than SILENT, as after a suspended host."""
    began: str | None = None
    """The boot, and when in it the process started; None where the system does not say it."""

    @property
    def runs(self) -> bool:
        """Whether its process runs, as far as heartbeats and the system say."""
        return self.silent <= SILENT or self.hangs

    @property
    def hangs(self) -> bool:
        """Whether it has been silent for longer than SILENT, but its process still exists on this host."""
        return min(self.silent, self.awake) > SILENT and _exists(self.name, self.began)


def _exists(worker: str, began: str | None) -> bool:
    """Return whether the process of a worker exists on this host. `began`: when it did, as the row says."""
    if (process := _process(worker)) is None:
        return False
    try:
        os.kill(process, 0)
    except PermissionError:
        pass
    except (OSError, OverflowError):
        return False
    if _status(worker)[:1] == ["Z"]:  # It has ended, and its parent has not asked for its result yet.
        return False
    # Another process may have got the id since.
    now = _began(worker)
    return now is None or began in {None, now}


def _process(worker: str) -> int | None:
    """Return the id of a worker's process; None if it is not on this host."""
    host, _, process = worker.rpartition(":")
    # On Windows, os.kill ends the process, whatever the signal.
    if host != socket.gethostname() or os.name != "posix" or not process.isdecimal():
        return None
    return int(process)


def _began(worker: str) -> str | None:
    """Return the boot, and when in it the worker's process started; None if the system does not say it."""
    status = _status(worker)
    return f"{SYSTEM.boot} {status[19]}" if len(status) > 19 else None


def _status(worker: str) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; none if the system does not say them."""
    try:
        status = Path(f"/proc/{_process(worker)}/stat").read_text("utf-8", "replace")
    except OSError:
        return []
    # The name of the program comes before, in parentheses, and may contain any character.
    return status.rpartition(")")[2].split()


class Leader(NamedTuple):
    """The worker that mails for the host."""

    worker: str
    silent: float
    """Seconds since it last renewed its lease; above LEASE, another worker may take the lead."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to mail for the host, until another worker takes it."""

    worker: str
    token: int
    """Grows with each change of leader, and is checked by every transaction of a leader. Negative in memory."""
    taken_from: str | None = None
    """The worker that had the lead and did not resign; None if the lead was free, or was renewed."""
    silent: float = 0.0
    """Seconds since that worker last renewed it."""


class LeaseLost(Exception):
    """Another worker leads now, or the file is back and this lease is from memory. The transaction changed nothing."""


class Totals(NamedTuple):
    """Counts of everything in the outbox."""

    open_groups: int
    errors: int
    """Errors of the open groups."""
    to_mail: int
    """Errors of the open groups that no mail has reported."""
    waiting: int
    """Mails that are to be sent."""
    dead: int
    """Mails that were given up."""
    next_try: float | None
    """Epoch second at which the next waiting mail is due, as the wall clock has it now."""
    old_errors: int = 0
    """Errors that were deleted for their age before a mail reported them, since the file was created."""
    crowded_errors: int = 0
    """Errors that were deleted to make room before a mail reported them, since the file was created."""
    crowded_mails: int = 0
    """Mails without a recipient so far, whose text was deleted to make room, since the file was created."""
    last_loss: float | None = None
    """Epoch second at which one of these three last grew, as the wall clock has it now."""
    resolved_groups: int = 0
    sent: int = 0
    """Mails that were sent, and not removed yet."""


def beat(database: Database, worker: str, figures: Mapping[str, Any], now: float, *, leader: bool) -> None:
    """Replace the worker's row. It has just woken up if it was silent for longer than SILENT."""
    values = {"worker": worker, "leader": leader, "now": now, "began": _began(worker), "silent": SILENT}
    # A process that ended without leaving, as after kill -9, had the same id: its counts stay.
    database.execute("DELETE FROM workers WHERE name = :worker AND began IS NOT :began", values)
    database.execute(
        """INSERT INTO workers (name, leader, at, began, figures) VALUES (:worker, :leader, :now, :began, :figures)
        ON CONFLICT (name) DO UPDATE SET leader = excluded.leader, at = excluded.at, began = excluded.began,
            figures = excluded.figures, woke = iif(at < excluded.at - :silent, excluded.at, woke)""",
        values | {"figures": json.dumps(dict(figures), default=repr)},
    )


def leave(database: Database, worker: str, figures: Mapping[str, Any]) -> None:
    """Delete the worker's row. Its last figures stay in the sums of `counts`."""
    last = (json.dumps(dict(figures), default=repr), worker)
    database.execute("UPDATE workers SET figures = ? WHERE name = ?", last)
    database.execute("DELETE FROM workers WHERE name = ?", (worker,))


def bury(database: Database, now: float) -> None:
    """Delete the rows of a day ago whose process has ended. One that exists may beat again, with the same counts."""
    for name, began in database.execute("SELECT name, began FROM workers WHERE at < ?", (now - DAY,)).fetchall():
        if not _exists(name, began):
            database.execute("DELETE FROM workers WHERE name = ?", (name,))


def counts(database: Database) -> Statistics:
    """Return the counts of all processes that ever gave a heartbeat, summed, and nothing of what is true only now."""
    rows = database.execute(
        """SELECT path, key, sum(count) FROM (
            SELECT path, key, value AS count
            FROM workers, json_tree(iif(json_valid(figures), figures, '{}'))
            WHERE type = 'integer' AND path IN ('$', '$.refused')
            UNION ALL SELECT path, key, count FROM ended)
        GROUP BY path, key"""
    ).fetchall()
    return Statistics(
        **{key: count for path, key, count in rows if path == "$" and key in COUNTS},
        refused={level: count for path, level, count in rows if path == "$.refused"},
    )


def alive(database: Database, within: float, at: Moment) -> list[Worker]:
    """Return the workers with a heartbeat within so many seconds, by name."""
    [woke] = database.execute("SELECT max(woke) FROM workers").fetchone()
    query = "SELECT name, leader, at, figures, began FROM workers WHERE at >= ? ORDER BY name"
    return [
        Worker(
            name,
            bool(leader),
            beat + at.ahead,
            max(0.0, at.now - beat),
            json.loads(figures),
            awake=at.now - woke,
            began=began,
        )
        for name, leader, beat, figures, began in database.execute(query, (at.now - within,))
    ]


def leader(database: Database, now: float) -> Leader | None:
    """Return the leader; None if no worker leads."""
    row = database.execute("SELECT worker, at FROM leader WHERE at IS NOT NULL").fetchone()
    return None if row is None else Leader(row["worker"], max(0.0, now - row["at"]))


def lead(database: Database, worker: str, lease: Lease | None, now: float) -> Lease | None:
    """Renew the lease or take the lead; None while another worker has it."""
    row = database.execute("SELECT worker, token, at FROM leader").fetchone()
    free = row is None or row["at"] is None
    if not free:
        if lease is not None and row["token"] == lease.token:
            database.execute("UPDATE leader SET at = ?", (now,))
            return Lease(worker, lease.token)
        if now - row["at"] < LEASE:
            return None
    token = (0 if row is None else row["token"]) + 1
    if database.in_memory:
        # Never equal to a token of the file, which must refuse a lease from memory.
        token = database.next_id() or -1
    database.execute("INSERT OR REPLACE INTO leader (id, worker, token, at) VALUES (1, ?, ?, ?)", (worker, token, now))
    return Lease(worker, token) if free else Lease(worker, token, taken_from=row["worker"], silent=now - row["at"])


def resign(database: Database, lease: Lease) -> None:
    """Free the lead, if the lease is still the current one, and its mails in flight."""
    database.execute("UPDATE mails SET token = NULL, claimed = NULL WHERE token = ?", (lease.token,))
    database.execute("UPDATE leader SET at = NULL WHERE token = ?", (lease.token,))


def check_lease(database: Database, lease: Lease) -> None:
    """Raise LeaseLost if another worker leads now."""
    row = database.execute("SELECT token FROM leader WHERE at IS NOT NULL").fetchone()
    if row is None or row["token"] != lease.token:
        raise LeaseLost(f"{lease.worker} no longer mails for this host")


def totals(database: Database, at: Moment) -> Totals:
    """Count what is open, waits or was given up."""
    open_groups, errors, to_mail, resolved_groups = database.execute(
        """SELECT count(*) FILTER (WHERE NOT resolved), coalesce(sum(count) FILTER (WHERE NOT resolved), 0),
            coalesce(sum(count - reported) FILTER (WHERE NOT resolved), 0), count(*) FILTER (WHERE resolved)
        FROM groups"""
    ).fetchone()
    # From the index alone, because the row of a mail holds its whole text.
    waiting, dead, next_try, sent = database.execute(
        """SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'dead'),
            min(next_try) FILTER (WHERE state = 'waiting') + ?, count(*) FILTER (WHERE state = 'sent')
        FROM mails""",
        (at.ahead,),
    ).fetchone()
    lost: dict[str, int] = dict(database.execute("SELECT reason, count FROM losses").fetchall())
    [last] = database.execute("SELECT max(at) + ? FROM losses", (at.ahead,)).fetchone()
    return Totals(
        open_groups,
        errors,
        to_mail,
        waiting,
        dead,
        next_try,
        old_errors=lost.get(OLD_ERRORS, 0),
        crowded_errors=lost.get(CROWDED_ERRORS, 0),
        crowded_mails=lost.get(CROWDED_MAILS, 0),
        last_loss=last,
        resolved_groups=resolved_groups,
        sent=sent,
    )
