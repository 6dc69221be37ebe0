"""What a rehearsal was to do, what came of it, and which setting was too small for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quartblog.delivery import MailingOptions, MailOptions, QueueOptions

AT_RISK = 0.1
"""Seconds after which an accepted record is safe from a kill -9: in the file, and in the outbox if it is an error."""
LARGEST_QUEUE = 1_000_000
"""Records; a longer queue takes more memory than the site."""
COMFORT = 0.5
"""Share of the queue that such a storm may fill without a suggestion."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The storm."""

    rate: float
    """Failing requests a second; each logs an INFO line and an ERROR."""
    distinct: int = 1
    """Kinds of failure."""
    seconds: float = 5.0
    smtp_delay: float = 0.0
    """Seconds the mail server takes to acknowledge a mail."""
    smtp_down: float = 0.0
    """Seconds from the start during which the mail server refuses connections."""


class Percentiles(NamedTuple):
    """Of some durations, in seconds."""

    median: float
    p99: float

    @classmethod
    def of(cls, durations: Sequence[float]) -> Self | None:
        """None without any."""
        if not durations:
            return None
        ordered = sorted(durations)
        return cls(ordered[len(ordered) // 2], ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)])


class Peaks:
    """A number over time, as the highest of each slice."""

    def __init__(self, slice_seconds: float) -> None:
        """A slice begins with its first number."""
        self.samples: list[tuple[float, int]] = []
        """(seconds, number), in order."""
        self._slice = slice_seconds

    def note(self, at: float, number: int) -> None:
        """Take a number in; `at` never goes back."""
        if self.samples and at - self.samples[-1][0] < self._slice:
            at, before = self.samples.pop()
            number = max(before, number)
        self.samples.append((at, number))


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of it."""

    plan: Plan
    lasted: float
    """Seconds of the storm."""
    drained: float | None
    """Seconds from its beginning until the queue was empty again; None where that took too long."""
    offered: Mapping[str, int]
    """Records by the name of their level."""
    refused: Mapping[str, int]
    size: int
    """Records the queue holds."""
    high_water: int
    """The most that waited."""
    depths: tuple[tuple[float, int], ...]
    """How many waited at which second."""
    call: Percentiles | None
    """Seconds of one call that logs an exception, in the event loop."""
    to_file: Percentiles | None
    """Seconds from such a call until file and outbox have the record."""
    to_mail: Percentiles | None
    """Seconds from the first failure of a kind to the mail that tells of it."""
    told: int
    """Kinds that a mail told of in time; the others waited for the next digest when it ended."""
    grouped: int
    """Errors the outbox has counted."""
    mails: int
    """Mails the server took."""
    counted: int
    """Errors they tell of."""
    held: int
    """Errors no mail tells of, because of mails_per_hour."""
    waiting: int
    """Mails that were still waiting at the end."""
    dead: int
    """Mails that were given up."""
    tries: int
    """Sessions with the mail server."""

    @property
    def accepted(self) -> dict[str, int]:
        """Records by the name of their level."""
        return {level: number - self.refused.get(level, 0) for level, number in self.offered.items()}

    @property
    def failures_per_second(self) -> float:
        """What the machine really offered."""
        failures = self.offered.get("ERROR", 0)
        # The storm lasted to its last failure, which has a share of the time behind it as well.
        return min(self.plan.rate, failures / self.lasted) if self.lasted else 0.0

    @property
    def written_per_second(self) -> float:
        """Records that left the queue, while it was not empty."""
        return sum(self.accepted.values()) / self.drained if self.drained else 0.0

    @property
    def at_risk(self) -> int:
        """Records that were accepted within AT_RISK seconds, or within the way to the file where that was longer."""
        seconds = max(AT_RISK, self.to_file.p99 if self.to_file else 0.0)
        accepted = sum(self.accepted.values())
        return min(accepted, math.ceil(accepted / self.lasted * seconds)) if self.lasted else 0


class Suggestion(NamedTuple):
    """A better value for one key of config.toml."""

    section: str
    key: str
    value: float
    why: str


def suggestions(
    rehearsed: Rehearsed, queue: QueueOptions, mail: MailOptions, mailing: MailingOptions
) -> Iterator[Suggestion]:
    """What was too small for this storm."""
    plan = rehearsed.plan
    refused = sum(rehearsed.refused.values())
    # What would have waited, had there been room, with a quarter to spare.
    wanted = (rehearsed.high_water + refused) * 1.25
    if refused:
        why = f"records that a full queue refused: {refused:,}"
        if _is_outrun(rehearsed):
            why += (
                f"; {rehearsed.written_per_second:.0f} records/s are written at most,"
                f" so this is enough for {plan.seconds:g} s of such a storm and for no longer"
            )
        yield Suggestion("delivery", "queue_size", _queue_size(wanted / (1 - queue.reserve)), why)
    elif rehearsed.high_water > COMFORT * queue.size:
        share = rehearsed.high_water / queue.size
        why = f"{share:.0%} of the queue were in use: one twice as long would be refused"
        yield Suggestion("delivery", "queue_size", _queue_size(wanted * 2), why)
    if rehearsed.held:
        why = f"errors that no mail reports because of this cap: {rehearsed.held:,}"
        needed = plan.seconds / mailing.batch_seconds if mailing.batch_seconds else rehearsed.mails
        yield Suggestion("delivery", "mails_per_hour", _rounded_up(max(needed, mailing.mails_per_hour) + 1), why)
    if plan.smtp_delay >= mail.timeout:
        why = f"the server takes {plan.smtp_delay:g} s for a mail, every session was cut off at {mail.timeout:g} s"
        yield Suggestion("mail", "timeout", math.ceil(plan.smtp_delay * 2), why)
    elif plan.smtp_delay > mailing.batch_seconds:
        why = f"the server takes {plan.smtp_delay:g} s for a mail: digests would queue up before it"
        yield Suggestion("delivery", "batch_seconds", math.ceil(plan.smtp_delay * 2), why)
    if rehearsed.dead and plan.smtp_down > mailing.retry_for:
        why = f"the server was away for {plan.smtp_down:g} s, and mails were given up meanwhile"
        yield Suggestion("delivery", "retry_for", math.ceil(plan.smtp_down * 10), why)


def _is_outrun(rehearsed: Rehearsed) -> bool:
    """Whether records come faster than they are written, so that no queue is long enough."""
    return rehearsed.written_per_second * rehearsed.lasted < 0.95 * sum(rehearsed.offered.values())


def _queue_size(records: float) -> int:
    return min(_rounded_up(records), LARGEST_QUEUE)


def _rounded_up(number: float) -> int:
    """To the next 1, 2 or 5 with noughts."""
    power = 10 ** math.floor(math.log10(max(number, 1)))
    return next(int(step * power) for step in (1, 2, 5, 10) if step * power >= number)
