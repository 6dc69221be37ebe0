"""The delivery's own voice: its logger, and stderr for what it cannot deliver."""

import contextlib
import sys

from .text.escaping import one_line

LOGGER_NAME = "quartblog.delivery"
"""The logger of the delivery's own records: they reach the file, and never a mail."""

MAILER_THREAD = "quartblog-mailer"
"""The thread that mails: what is logged there, by whatever library, reaches no mail either."""


def report(text: str) -> None:
    """Write one line to stderr. Never raises: stderr may be closed, full or missing altogether."""
    with contextlib.suppress(Exception):
        sys.stderr.write(f"quartblog.delivery: {one_line(text)}\n")
        sys.stderr.flush()


def describe(error: BaseException) -> str:
    """The exception as `Type: message`, whatever its __str__ does."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  a hostile __str__ must not hide the failure it belongs to
        return f"{type(error).__name__}: (its text could not be built)"
