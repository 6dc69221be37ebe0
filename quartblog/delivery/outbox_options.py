"""What an operator may turn about the outbox."""

from dataclasses import dataclass
from pathlib import Path

MAX_AGE = 30 * 86_400.0
MAX_BYTES = 50 * 1024 * 1024
SAMPLES = 10


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
