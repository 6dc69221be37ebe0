"""What the outbox gives back: groups of equal failures, mails, workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..grouping.event import Event

Kind = Literal["digest", "route", "post"]
State = Literal["waiting", "sent", "dead"]


@dataclass(frozen=True, slots=True)
class Group:
    """All events of one fingerprint. Times are epoch seconds."""

    id: int
    """Negative while the group is only in this process's memory."""
    fingerprint: str
    title: str
    level: int
    """The highest of its events."""
    logger: str
    count: int
    reported: int
    """How many of `count` were mailed."""
    first_seen: float
    last_seen: float
    last_reported: float | None
    reopened: bool
    """It happened again after somebody resolved it, and that was not mailed yet."""
    samples: tuple[Event, ...]
    """Some of the latest events, newest first."""
    place: str
    route: str | None
    function: str = ""
    resolved: bool = False
    resolved_at: float | None = None
    """When it was last resolved; stays when it is opened again."""


class ToldMeanwhile(Exception):
    """Another mail has told of events that this digest was to tell of: nothing is stored."""


@dataclass(frozen=True, slots=True)
class NewMail:
    """A finished mail that is to be stored."""

    message_id: str
    subject: str
    data: bytes
    """The whole message as SMTP sends it; never changed afterwards."""
    recipients: tuple[str, ...]
    """Envelope addresses."""
    kind: Kind = "digest"
    """`digest` for the admins, `route` for the additional recipients of the same one, `post` for product mail."""


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A mail of the outbox. Times are epoch seconds."""

    id: int
    """Negative while the mail is only in this process's memory."""
    message_id: str
    kind: Kind
    subject: str
    data: bytes
    """Empty for a sent mail whose text had to make room."""
    recipients: tuple[str, ...]
    """Still to be served; once sent or dead, whom that concerns."""
    tries: int
    created: float
    since: float
    """From when the time to give up is counted: `created`, or when an operator asked for a retry."""
    next_try: float
    last_error: str
    """Why the last try failed; for a sent mail what the server answered."""
    state: State
    finished: float | None = None
    """When it was sent or given up."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The last heartbeat of one process."""

    name: str
    leader: bool
    at: float
    """Epoch seconds."""
    figures: Mapping[str, Any] = field(default_factory=dict)


class Totals(NamedTuple):
    """How much there is, in numbers alone."""

    open_groups: int
    errors: int
    """Failures of the open groups."""
    to_mail: int
    """Those nobody was mailed."""
    waiting: int
    """Mails that are to be sent."""
    dead: int
    """Mails that were given up."""
    next_try: float | None
    """Epoch second at which the next waiting mail is due."""
