"""Test -> a fake clock that changes only when the test moves it."""

from __future__ import annotations

START = 1_700_000_000.0
"""The initial wall clock in epoch seconds."""


class FakeClock:
    """A wall clock and a monotonic clock that the test moves."""

    def __init__(self, wall: float = START) -> None:
        self.boot = "1"
        self._wall = wall
        self._ticks = 1_000.0

    def wall(self) -> float:
        return self._wall

    def ticks(self) -> float:
        return self._ticks

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._wall += seconds
        self._ticks += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back for negative `seconds`."""
        self._wall += seconds

    def reboot(self, off: float = 0.0) -> None:
        """Reboot the machine after `off` seconds without power."""
        self.boot = str(int(self.boot) + 1)
        self._wall += off
        self._ticks = 1.0

    def restore(self, seconds: float) -> None:
        """Restore a checkpoint of the machine: the boot stays, and its time goes back."""
        self._ticks -= seconds
