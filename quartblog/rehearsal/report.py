"""Results of a rehearsal -> figures, and better values for the settings that were too small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quartblog.delivery import MailingOptions, MailOptions, Percentiles, QueueOptions

AT_RISK = 0.1
"""Seconds until kill -9 no longer loses an accepted record: it is in the file, and an error is in the outbox."""
LARGEST_QUEUE = 1_000_000
"""Records. A longer queue would need more memory than the site."""
COMFORT = 0.5
"""The share of the queue that a storm may fill before the report suggests a longer queue."""

SHARE = (
    "Each worker has a queue of its own, and a rehearsal is one worker."
    " Its rate is the failing requests a second of the whole site / workers:"
    " 2,000 a second on 4 workers are --rate 500."
    " The queue_size that it suggests is the one of each worker."
)
"""How the sizes of a site follow from those of a rehearsal."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The storm."""

    rate: float
    """Failing requests a second in one worker; each logs an INFO line and an ERROR."""
    distinct: int = 1
    """The number of different failures."""
    seconds: float = 5.0
    smtp_delay: float = 0.0
    """Seconds the mail server takes to acknowledge a mail."""
    smtp_down: float = 0.0
    """Seconds from the start in which the mail server refuses connections."""


class Peaks:
    """The peaks of a number over time, one for each slice of time."""

    def __init__(self, slice_seconds: float) -> None:
        """A slice starts with its first number and lasts `slice_seconds`."""
        self.samples: list[tuple[float, int]] = []
        """(seconds, number), in order."""
        self._slice = slice_seconds

    def note(self, at: float, number: int) -> None:
        """Add a number; `at`, in seconds, must not decrease."""
        if self.samples and at - self.samples[-1][0] < self._slice:
            at, before = self.samples.pop()
            number = max(before, number)
        self.samples.append((at, number))


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The results of a rehearsal."""

    plan: Plan
    lasted: float
    """Seconds of the storm."""
    drained: float | None
    """Seconds from the start of the storm until the queue was empty; None if it never was."""
    offered: Mapping[str, int]
    """Logged records by level name."""
    refused: Mapping[str, int]
    """Records that the full queue refused, by level name."""
    size: int
    """The capacity of the queue in records."""
    high_water: int
    """The most records that waited in the queue."""
    depths: tuple[tuple[float, int], ...]
    """(seconds, records that waited in the queue)."""
    call: Percentiles | None
    """Of one call to log an exception, in the event loop."""
    to_file: Percentiles | None
    """From such a call until file and outbox have the record."""
    to_mail: Percentiles | None
    """From the first failure of a kind to the mail that reports it."""
    kinds_in_time: int
    """Kinds that a mail reported in time; the others waited for the next digest at the end."""
    grouped: int
    """Errors that the outbox counted."""
    in_time: int
    """Mails that the server took before the remaining digests were sent at the end."""
    mails: int
    """Mails that the server accepted."""
    counted: int
    """Errors that these mails report."""
    held: int
    """Errors that no mail reports, because of mails_per_hour."""
    waiting: int
    """Mails that still waited at the end."""
    dead: int
    """Dead mails."""
    tries: int
    """Sessions with the mail server."""

    @property
    def accepted(self) -> dict[str, int]:
        """Accepted records by level name."""
        return {level: number - self.refused.get(level, 0) for level, number in self.offered.items()}

    @property
    def failures_per_second(self) -> float:
        """The rate of failures that this machine reached."""
        failures = self.offered.get("ERROR", 0)
        # `lasted` ends at the last failure, so the quotient would exceed the planned rate.
        return min(self.plan.rate, failures / self.lasted) if self.lasted else 0.0

    @property
    def written_per_second(self) -> float:
        """Records that left the queue per second, until it was empty."""
        return sum(self.accepted.values()) / self.drained if self.drained else 0.0

    @property
    def at_risk(self) -> int:
        """Records accepted within AT_RISK seconds, or within the time to the file if that was longer."""
        seconds = max(AT_RISK, self.to_file.p99_ms / 1000 if self.to_file else 0.0)
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
    """Yield a better value for each setting that was too small for this storm."""
    plan = rehearsed.plan
    refused = sum(rehearsed.refused.values())
    # The records that would have waited in a longer queue, plus a quarter.
    wanted = (rehearsed.high_water + refused) * 1.25
    if refused:
        why = f"the full queue refused {refused:,} records"
        if _is_outrun(rehearsed):
            why += (
                f"; the listener writes at most {rehearsed.written_per_second:.0f} records/s,"
                f" so this is enough for {plan.seconds:g} s of such a storm but not for more"
            )
        yield Suggestion("delivery", "queue_size", _queue_size(wanted / (1 - queue.reserve)), why)
    elif rehearsed.high_water > COMFORT * queue.size:
        share = rehearsed.high_water / queue.size
        why = f"the storm filled {share:.0%} of the queue: it would refuse records of a storm twice as long"
        yield Suggestion("delivery", "queue_size", _queue_size(wanted * 2), why)
    if rehearsed.held:
        why = f"because of this cap no mail reports {rehearsed.held:,} errors"
        needed = plan.seconds / mailing.batch_seconds if mailing.batch_seconds else rehearsed.mails
        yield Suggestion("delivery", "mails_per_hour", _rounded_up(max(needed, mailing.mails_per_hour) + 1), why)
    if plan.smtp_delay >= mail.timeout:
        why = f"the server takes {plan.smtp_delay:g} s for a mail, and every session timed out after {mail.timeout:g} s"
        yield Suggestion("mail", "timeout", math.ceil(plan.smtp_delay * 2), why)
    elif plan.smtp_delay > mailing.batch_seconds:
        why = f"the server takes {plan.smtp_delay:g} s for a mail, so digests would form a backlog"
        yield Suggestion("delivery", "batch_seconds", math.ceil(plan.smtp_delay * 2), why)
    if rehearsed.dead and plan.smtp_down > mailing.retry_for:
        why = f"the server was unreachable for {plan.smtp_down:g} s, and mails became dead meanwhile"
        yield Suggestion("delivery", "retry_for", math.ceil(plan.smtp_down * 10), why)


def _is_outrun(rehearsed: Rehearsed) -> bool:
    """Whether records arrive faster than the listener writes them, so that no queue is long enough."""
    return rehearsed.written_per_second * rehearsed.lasted < 0.95 * sum(rehearsed.offered.values())


def _queue_size(records: float) -> int:
    return min(_rounded_up(records), LARGEST_QUEUE)


def _rounded_up(number: float) -> int:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(max(number, 1)))
    return next(int(step * power) for step in (1, 2, 5, 10) if step * power >= number)
