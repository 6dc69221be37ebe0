"""Boot time and wall clock -> the outbox's steady time, which no change of the wall clock moves.

The outbox compares only steady times (next try, cap, window, mute, age, heartbeats, lead): seconds since the boot plus
an offset, which the file keeps. When a boot first uses the file, it fixes the offset: steady time then equals the wall
clock, but it is neither earlier than the last steady time in the file nor more than a day later. Within a boot steady
time does not jump, and from boot to boot it does not go back. A wall clock that is years off makes no row old. While
nobody sets the wall clock, the two times are equal.

Each transaction that writes notes its steady time in the file, so no time in the file is later than the noted one,
except `next_try` and `muted_until`. The time since the boot may go back within a boot, when a container or a virtual
machine is restored from a checkpoint: then the file gets a new offset as well.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import sqlite3

MOST_OFF = 86_400.0
"""Seconds that count at most for the time a machine was off, because the wall clock may have been set meanwhile."""
ROUNDING = 0.01
"""Seconds of difference between the two times that are ignored."""
SLACK = 1.0
"""Seconds that steady time may lie behind the last one in the file, before it gets another offset."""


class Clock(Protocol):
    """The time of this machine."""

    @property
    def boot(self) -> str:
        """The boot that `ticks` counts from; the same for all processes of a boot."""

    def wall(self) -> float:
        """Return epoch seconds, which may be set forward or back."""

    def ticks(self) -> float:
        """Return seconds since the boot, also those for which the system was suspended."""


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        """Read which boot this is."""
        try:
            self.boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except (OSError, UnicodeError):
            # Not Linux. A later boot is recognized by time that went back.
            self.boot = "unknown"

    def wall(self) -> float:
        """As Clock.wall."""
        return time.time()

    def ticks(self) -> float:
        """As Clock.ticks, with the time the system was suspended, if the system counts that."""
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()


SYSTEM = SystemClock()


class Moment(NamedTuple):
    """One moment, in both times."""

    now: float
    """Steady time, in seconds."""
    wall: float
    """Epoch seconds."""

    @property
    def ahead(self) -> float:
        """Seconds to add to a steady time to show it as the wall clock has it now."""
        seconds = self.wall - self.now
        # A smaller difference comes from rounding, and would make one time look different when it is shown twice.
        return seconds if abs(seconds) > ROUNDING else 0.0


class SteadyClock:
    """The steady time of one outbox."""

    def __init__(self, clock: Clock) -> None:
        """Begin at the wall clock. A file may give another offset later."""
        self._clock = clock
        self._boot = clock.boot
        self.offset = clock.wall() - clock.ticks()
        """Seconds from the time since the boot to the steady time."""
        self._kept = False
        self._latest = clock.ticks()
        self._gone_back = 0.0

    def now(self) -> float:
        """Return the steady time, in seconds. It jumps when the file gives another offset."""
        return self._clock.ticks() + self.offset

    def moment(self) -> Moment:
        """Return this moment."""
        return Moment(self.now(), self._clock.wall())

    def elapsed(self) -> float:
        """Return seconds that never go back, for times of this process that no row keeps."""
        return self._clock.ticks() + self._gone_back

    def go_on(self) -> None:
        """If the time since the boot has gone back, let steady time go on where it was. For one thread at a time."""
        ticks, before = self._clock.ticks(), self._latest
        self._latest = ticks
        back = max(0.0, before - ticks)
        self._gone_back += back
        self.offset += back

    def agrees(self, database: sqlite3.Connection) -> bool:
        """Return whether the file has this offset, and no later time. A backup may have been restored into it."""
        boot, ahead, seen = _row(database) or ("", 0.0, 0.0)
        return (boot, ahead) == (self._clock.boot, self.offset) and self.now() >= seen - SLACK

    def take_over(self, database: sqlite3.Connection) -> bool:
        """Use the offset of the file; return False if it has none for this boot."""
        row = _row(database)
        if row is None or row[0] != self._clock.boot or self._clock.ticks() + row[1] < row[2] - SLACK:
            return False
        self.offset = float(row[1])
        self._boot, self._kept = self._clock.boot, True
        return True

    def fix(self, database: sqlite3.Connection) -> None:
        """In a transaction: give the file an offset for this boot, unless another process has done so."""
        if self.take_over(database):
            return
        row, ticks = _row(database), self._clock.ticks()
        known = self._kept and self._boot == self._clock.boot
        offset = self.offset if known else self._clock.wall() - ticks
        if row is not None:
            last = row[2] - ticks
            offset = max(last, offset if known else min(offset, last + MOST_OFF))
            if row[0] != self._clock.boot:
                # The processes of the earlier boot are gone.
                database.execute("DELETE FROM workers WHERE began NOT LIKE ? || ' %'", (self._clock.boot,))
                database.execute("UPDATE leader SET at = NULL")
        values = (self._clock.boot, offset, ticks + offset)
        database.execute("INSERT OR REPLACE INTO steady (id, boot, ahead, seen) VALUES (1, ?, ?, ?)", values)
        # Only now: where the file refuses the row, the times in memory go on.
        self.offset = offset
        self._boot, self._kept = self._clock.boot, True

    def note(self, database: sqlite3.Connection) -> None:
        """In a transaction: store the latest steady time."""
        database.execute("UPDATE steady SET seen = max(seen, ?)", (self.now(),))


def _row(database: sqlite3.Connection) -> Any:
    return database.execute("SELECT boot, ahead, seen FROM steady").fetchone()
