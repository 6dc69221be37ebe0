"""Error records -> one tally for each fingerprint: all are counted, and the newest few become events."""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from ..context import new_error_id
from ..options import SAMPLES
from ..own_log import describe, report
from ..text.escaping import shortened
from ..text.formatting import exception_text
from ..text.freezing import frozen_message, level_of, text_of
from .fingerprint import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TRACEBACK_LIMIT = 50_000
"""Characters kept of one traceback; the log file has all of it."""
MESSAGE_LIMIT = 10_000
"""Characters kept of one message."""
MOST_IDS = 100_000
"""Error ids that one batch keeps. A batch is 40 ms of errors, unless the disk hangs."""
PORTION = 1_000_000
"""Characters of events that are stored in one transaction."""


def exception_line(traceback: str, title: str) -> str:
    """Return `Type: message` from the traceback, without notes and later lines of the message."""
    for line in reversed(traceback.splitlines()):
        words = line.lstrip(" |")
        if words == title or words.startswith(f"{title}: "):
            return words
    return title


@dataclass(frozen=True, slots=True)
class Event:
    """An error record as the outbox keeps it. Its texts may hold anything that a stranger typed: escape them."""

    error_id: str
    """The id on the error page and in the log line."""
    fingerprint: str
    """Equal for events of one failure, see `Identity`."""
    title: str
    """The exception's type, or the message pattern, on one line."""
    level: int
    logger: str
    message: str
    place: str
    """`path:line` of the innermost own frame, relative, or of the logging call."""
    function: str
    created: float
    """Epoch seconds."""
    method: str | None = None
    route: str | None = None
    user_id: int | str | None = None
    traceback: str = ""
    breadcrumbs: tuple[str, ...] = ()
    """Earlier lines of the same request, oldest first."""
    process: int = 0
    """Process id."""
    earlier: tuple[str, ...] = ()
    """Fingerprints that earlier versions of this program gave the failure."""

    @classmethod
    def from_record(cls, record: logging.LogRecord) -> Self:
        """Return the event of a record. It gets an error id if the record has none. Never raises."""
        identity = identity_of(record)
        attributes = vars(record)
        user_id, crumbs = attributes.get("user_id"), attributes.get("breadcrumbs")
        return cls(
            error_id=_text(attributes.get("error_id")) or new_error_id(),
            fingerprint=identity.fingerprint,
            title=identity.title,
            level=level_of(record.levelno),
            logger=_text(record.name) or "",
            message=shortened(frozen_message(record), MESSAGE_LIMIT),
            place=identity.place,
            function=identity.function,
            created=record.created,
            method=_text(attributes.get("method")),
            route=_text(attributes.get("route")),
            user_id=user_id if type(user_id) is int else _text(user_id),
            traceback=shortened(exception_text(record), TRACEBACK_LIMIT),
            breadcrumbs=tuple([_text(crumb) or "" for crumb in crumbs]) if type(crumbs) is tuple else (),
            process=record.process or 0,
            earlier=identity.earlier,
        )

    def to_json(self) -> str:
        """Return all but the traceback, which many events share, as ASCII, so that a lone surrogate survives."""
        # Not asdict, which copies deeply: that takes as long as the rest.
        return _encode({name: getattr(self, name) for name in _FIELDS})

    @property
    def size(self) -> int:
        """Characters of its long texts, and about as many as the rest takes."""
        return 500 + sum(map(len, (self.title, self.message, self.place, self.traceback, *self.breadcrumbs)))

    @property
    def said(self) -> str:
        """Its message, after the words of its exception: what somebody may remember of the error."""
        words = exception_line(self.traceback, self.title).removeprefix(self.title).removeprefix(": ")
        return f"{words} ({self.message})" if words else self.message

    @classmethod
    def from_json(cls, text: str, traceback: str) -> Self:
        """Return the event again; fields of a later version are ignored."""
        values: dict[str, Any] = json.loads(text)
        known = {name: values[name] for name in _FIELDS if name in values}
        for name in ("breadcrumbs", "earlier"):
            known[name] = tuple(known.get(name, ()))
        # Earlier versions wrote the traceback into the JSON.
        return cls(**known, traceback=traceback or values.get("traceback", ""))


_FIELDS = tuple(field.name for field in fields(Event) if field.name != "traceback")
_encode = json.JSONEncoder(separators=(",", ":")).encode


def _text(value: object) -> str | None:
    return None if value is None else text_of(value, MESSAGE_LIMIT)


Quotable = tuple[str, float, str | None]
"""An error id, the epoch second of its event, and the user."""


@dataclass(slots=True)
class Tally:
    """The events of one fingerprint in one batch."""

    count: int
    first_seen: float
    last_seen: float
    level: int
    newest: deque[Event]
    """Oldest first."""
    ids: list[Quotable] = field(default_factory=list)
    """Of all events, the oldest first; without those beyond MOST_IDS in a batch."""


class Batch:
    """Counts records by fingerprint, a repeated one in a few µs. For one thread.

    The newest records of each fingerprint stay as they are, with their frames, until `tallies` is called.
    """

    def __init__(self, samples: int = SAMPLES) -> None:
        """Make at most `samples` events of one fingerprint."""
        self._samples = samples
        self._piles: dict[str, _Pile] = {}
        self._length = 0
        self._ids = 0

    def __len__(self) -> int:
        """Return the number of records."""
        return self._length

    @property
    def groups(self) -> int:
        """The number of fingerprints."""
        return len(self._piles)

    def add(self, record: logging.LogRecord) -> None:
        """Count a record."""
        key = identity_of(record).fingerprint
        pile = self._piles.get(key)
        if pile is None:
            pile = self._piles[key] = _Pile(deque(maxlen=self._samples), record.created)
        pile.count += 1
        pile.last_seen = max(pile.last_seen, record.created)
        pile.first_seen = min(pile.first_seen, record.created)
        pile.level = max(pile.level, level_of(record.levelno))
        pile.records.append(record)
        self._length += 1
        if self._ids < MOST_IDS:
            self._ids += 1
            attributes = vars(record)
            pile.ids.append((attributes.get("error_id"), record.created, attributes.get("user_id")))

    def tallies(self) -> dict[str, Tally]:
        """Return the tallies by fingerprint."""
        return {
            key: Tally(
                pile.count,
                pile.first_seen,
                pile.last_seen,
                pile.level,
                deque(_events(pile.records)),
                [(text, created, _text(user_id)) for given, created, user_id in pile.ids if (text := _text(given))],
            )
            for key, pile in self._piles.items()
        }


def _events(records: Iterable[logging.LogRecord]) -> Iterator[Event]:
    """Yield the events of these records, without records that cannot become one."""
    for record in records:
        try:
            yield Event.from_record(record)
        except Exception as error:  # noqa: BLE001  the other records must be stored
            report(f"a sample of an error could not be kept: {describe(error)}")


class _Pile:
    __slots__ = ("count", "first_seen", "ids", "last_seen", "level", "records")

    def __init__(self, records: deque[logging.LogRecord], created: float) -> None:
        self.records = records
        self.ids: list[tuple[object, float, object]] = []
        self.count = 0
        self.level = 0
        self.first_seen = self.last_seen = created


def tallies_of(events: Iterable[Event], samples: int) -> dict[str, Tally]:
    """Return the tallies of events, by fingerprint."""
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
        tally.ids.append((event.error_id, event.created, _text(event.user_id)))
    return found


def portions(tallies: Mapping[str, Tally]) -> Iterator[dict[str, Tally]]:
    """Yield the tallies in portions of about PORTION characters; a larger tally is divided, with its count."""
    portion: dict[str, Tally] = {}
    size = 0
    for key, tally in tallies.items():
        part = portion[key] = replace(tally, newest=deque())
        for number, event in enumerate(tally.newest, 1):
            part.newest.append(event)
            size += event.size
            if size < PORTION or number == len(tally.newest):
                continue
            rest = part.count - len(part.newest)
            part.count = len(part.newest)
            yield portion
            part = replace(tally, count=rest, newest=deque(), ids=[])
            portion, size = {key: part}, 0
        if size >= PORTION:
            yield portion
            portion, size = {}, 0
    if portion:
        yield portion
