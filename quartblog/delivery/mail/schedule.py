"""Times and counts -> what the cap leaves, since when it held errors back, and when a mail is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..options import MailingOptions
    from ..store.groups import Group
    from ..store.outbox import Outbox

HOUR = 3_600.0
"""Seconds over which mails_per_hour is counted."""
_DOUBLINGS = 60


class Cap(NamedTuple):
    """The digests of the last hour against `mails_per_hour`."""

    digests: int
    """Digests that left, or were refused for good, within the last hour."""
    per_hour: int | None
    """Digests that may leave within an hour; None if the options are not known."""
    wait: float | None
    """Seconds before the next digest may leave, None if it may leave now."""

    @property
    def spent(self) -> bool:
        """Whether it holds digests back."""
        return self.per_hour is not None and self.digests >= self.per_hour


def cap(outbox: Outbox, options: MailingOptions | None) -> Cap:
    """Return the cap of this outbox now."""
    digests = outbox.sending.digests_within(HOUR)
    if options is None:
        return Cap(digests, None, None)
    ages = outbox.sending.latest_digests(options.mails_per_hour)
    waits = [options.batch_seconds - age for age in ages[:1]]
    waits += [HOUR - age for age in ages[options.mails_per_hour - 1 :]]
    return Cap(digests, options.mails_per_hour, max((wait for wait in waits if wait > 0), default=None))


def held_since(groups: Iterable[Group], left: Sequence[float], options: MailingOptions) -> float | None:
    """Return since when the cap held errors of these groups back, as far as the outbox shows; None if it did not.

    `left` are the epoch seconds at which the newest digests left, the last one first, no more than the cap allows an
    hour.
    """
    if len(left) < options.mails_per_hour:
        return None
    free = left[-1] + HOUR
    first = min(map(_first_new, groups), default=free)
    return max(first, left[0]) if left[0] + options.batch_seconds < free > first else None


def _first_new(group: Group) -> float:
    """Return the time of the first error that no mail has reported, as far as the samples show."""
    if group.reported == 0:
        return group.first_seen
    new = group.samples[: group.count - group.reported]
    return min((sample.created for sample in new), default=group.last_seen)


def pause(failures: int, options: MailingOptions, chance: float) -> float:
    """Return the seconds until the next try: full jitter below a bound that doubles per failure, up to retry_max.

    The caller draws `chance`, from 0 to 1, so that mails that failed together are not tried together again.
    """
    bound = options.retry_min * 2.0 ** min(max(failures, 1) - 1, _DOUBLINGS)
    return min(bound, options.retry_max) * chance
