"""A clock that stands still until a test moves it."""

from __future__ import annotations

START = 1_700_000_000.0
"""Epoch second at which the clock of a test begins."""


class FakeClock:
    """The wall clock and the time since the boot, moved by hand."""

    def __init__(self, wall: float = START) -> None:
        self.boot = "1"
        self._wall = wall
        self._ticks = 1_000.0

    def wall(self) -> float:
        return self._wall

    def ticks(self) -> float:
        return self._ticks

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self._wall += seconds
        self._ticks += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back where `seconds` is below 0."""
        self._wall += seconds

    def reboot(self, off: float = 0.0) -> None:
        """Start the machine again, after it was off for so many seconds by the wall clock."""
        self.boot = str(int(self.boot) + 1)
        self._wall += off
        self._ticks = 1.0
