"""Records of a storm -> one tally a group: counted at once, made into Events only for the last few."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..outbox.options import SAMPLES
from ..stderr import describe, report
from .events import Event
from .fingerprint import identify

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Iterator


@dataclass(slots=True)
class Tally:
    """What one batch knows of one group."""

    count: int
    first_seen: float
    last_seen: float
    level: int
    newest: deque[Event]
    """Oldest first."""


class Batch:
    """Counts records by failure; a repeated one costs a few µs. For one thread.

    It keeps the last few records of each failure as they are, with their frames, until it is recorded.
    """

    def __init__(self, samples: int = SAMPLES) -> None:
        """`samples` is how many Events of a failure will be made at most."""
        self._samples = samples
        self._piles: dict[str, _Pile] = {}
        self._length = 0

    def __len__(self) -> int:
        """How many records were added."""
        return self._length

    @property
    def groups(self) -> int:
        """Of how many failures they are."""
        return len(self._piles)

    def add(self, record: logging.LogRecord) -> None:
        """Count the record."""
        key = identify(record).fingerprint
        pile = self._piles.get(key)
        if pile is None:
            pile = self._piles[key] = _Pile(deque(maxlen=self._samples), record.created)
        pile.count += 1
        pile.last_seen = max(pile.last_seen, record.created)
        pile.first_seen = min(pile.first_seen, record.created)
        pile.level = max(pile.level, record.levelno)
        pile.records.append(record)
        self._length += 1

    def tallies(self) -> dict[str, Tally]:
        """By fingerprint."""
        return {
            key: Tally(pile.count, pile.first_seen, pile.last_seen, pile.level, deque(_events(pile.records)))
            for key, pile in self._piles.items()
        }


def _events(records: Iterable[logging.LogRecord]) -> Iterator[Event]:
    """An event for each record that can be one: of a pile it needs only one to be told."""
    for record in records:
        try:
            yield Event.from_record(record)
        except Exception as error:  # noqa: BLE001  the other piles are not to suffer
            report(f"a sample of an error could not be kept: {describe(error)}")


class _Pile:
    __slots__ = ("count", "first_seen", "last_seen", "level", "records")

    def __init__(self, records: deque[logging.LogRecord], created: float) -> None:
        self.records = records
        self.count = 0
        self.level = 0
        self.first_seen = self.last_seen = created


def tallies_of(events: Iterable[Event], samples: int) -> dict[str, Tally]:
    """The same of events that exist already."""
    found: dict[str, Tally] = {}
    for event in events:
        tally = found.get(event.fingerprint)
        if tally is None:
            tally = Tally(0, event.created, event.created, event.level, deque(maxlen=samples))
            found[event.fingerprint] = tally
        tally.count += 1
        tally.first_seen = min(tally.first_seen, event.created)
        tally.last_seen = max(tally.last_seen, event.created)
        tally.level = max(tally.level, event.level)
        tally.newest.append(event)
    return found
