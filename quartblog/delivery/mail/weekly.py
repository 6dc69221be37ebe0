"""Text such as "monday 08:00" -> a time of the week in UTC -> the epoch second at which a week ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

DAY = 86_400
WEEK = 7 * DAY
"""Seconds of a week."""
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FIRST_DAY = 3
"""The weekday of 1970-01-01, a Thursday."""
_TIME = re.compile(r"([a-z]+) +([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class WeeklyTime:
    """A time of the week, in UTC: no change to or from summer time repeats or skips it."""

    day: int
    """0 for Monday."""
    minute: int
    """Minutes since midnight."""

    def __post_init__(self) -> None:
        """Raise ValueError for a time that no week has."""
        if not (0 <= self.day < len(_DAYS) and 0 <= self.minute < DAY // 60):
            raise ValueError(f"day is 0 to 6 and minute 0 to 1439, not {self.day} and {self.minute}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the time of a text such as "monday 08:00". Raise ValueError for another one."""
        found = _TIME.fullmatch(text.strip().lower())
        if found is None or found[1] not in _DAYS:
            raise ValueError(f'a time of the week is a text such as "monday 08:00", not {text!r}')
        return cls(_DAYS.index(found[1]), 60 * int(found[2]) + int(found[3]))

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{_DAYS[self.day]} {self.minute // 60:02}:{self.minute % 60:02}"

    def latest(self, at: float) -> int:
        """Return the last epoch second, not after `at`, that has this time."""
        first = (self.day - _FIRST_DAY) % len(_DAYS) * DAY + self.minute * 60
        return int(at // 1) - int(at // 1 - first) % WEEK
