"""Rows that were in memory during an outage -> where they are now, and what the file is owed once it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .database import Database


class Whereabouts:
    """Of one storage, whose lock guards it. Ids are negative in memory, and stay valid for whoever has them."""

    def __init__(self) -> None:
        """Nothing has moved yet."""
        self._moved: dict[tuple[str, int], int] = {}
        self._owed: list[Callable[[Database], object]] = []

    @property
    def owing(self) -> bool:
        """Whether something waits for the file."""
        return bool(self._owed)

    def on_row(self, database: Database, table: str, row: int, work: Callable[[Database, int], object]) -> None:
        """Inside a transaction: run `work` on a row that may have moved, or once the file it is in is back."""
        number = self._moved.get((table, row), row)
        if self.current(database, table, row) is not None:
            work(database, number)
        elif database.in_memory:
            self._owed.append(lambda disk: work(disk, number))

    def current(self, database: Database, table: str, row: int) -> int | None:
        """The id the row has in this database; None for a row of the other one."""
        number = self._moved.get((table, row), row)
        return number if (number < 0) == database.in_memory else None

    def reported_before(self, group: int) -> int:
        """What a group that was in memory had on disk, as reported, before the two were added up."""
        return self._moved.get(("reported", group), 0)

    def pay(self, database: Database) -> None:
        """Inside a transaction of the file: do what it is owed; `settled` forgets it once that is committed."""
        for work in self._owed:
            work(database)

    def settled(self, moved: Mapping[tuple[str, int], int]) -> None:
        """The file has all that it was owed, and these rows."""
        self._moved.update(moved)
        self._owed.clear()
