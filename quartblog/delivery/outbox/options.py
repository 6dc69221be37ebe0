"""What an operator may turn about the outbox."""

from dataclasses import dataclass
from pathlib import Path

MAX_AGE = 30 * 86_400.0
MAX_BYTES = 50 * 1024 * 1024
MOST_SAMPLES = 1_000
SAMPLES = 10
LEAST_BYTES = 1024 * 1024
"""Bytes an outbox needs to keep one group with its samples and some mails, whatever their texts."""


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """Where errors and mails are kept, and how many."""

    path: Path = Path("instance/outbox.sqlite3")
    """The SQLite file, on a local disk; all processes of one host share it."""
    max_age: float = MAX_AGE
    """Seconds after which groups that did not happen again, and finished mails, are forgotten."""
    max_bytes: int = MAX_BYTES
    """Bytes the file has at most, beside a log of about 4 MB; old samples and the texts of sent mails leave first."""
    samples: int = SAMPLES
    """Latest events of a group that are kept whole."""

    def __post_init__(self) -> None:
        """Raise ValueError for values with which nothing could be kept."""
        if self.max_age <= 0:
            raise ValueError(f"max_age is more than 0 seconds, not {self.max_age}")
        if self.max_bytes < LEAST_BYTES:
            raise ValueError(f"max_bytes is at least {LEAST_BYTES}, not {self.max_bytes}")
        # They are written by one statement, and SQLite takes 32,766 values in one.
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise ValueError(f"samples is 1 to {MOST_SAMPLES}, not {self.samples}")
