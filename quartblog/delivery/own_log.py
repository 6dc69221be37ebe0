"""The delivery's own voice: its loggers, and stderr for what it cannot deliver."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from .interrupts import reraise_interrupt
from .text.escaping import one_line, shortened

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter

LOGGER_NAME = __name__.rpartition(".")[0]
"""The name that this folder is imported by, which its threads and its lines on stderr carry as well.

The records of this logger, and of those below it, reach the file and never a mail."""

MAILER_THREAD = f"{LOGGER_NAME}-mailer"
"""The thread that mails: what is logged there, by whatever library, reaches no mail either."""

LONGEST_REASON = 1_000
"""Characters of an exception, or of an object, in a sentence about it."""


class OwnLogger(_Adapter):
    """A logger for our own threads: a filter, or somebody's handler, that raises keeps none of them from its work."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """As every logger's. Never raises."""
        try:
            # One more for this method: the record shall name the line that called it.
            super().log(level, msg, *args, stacklevel=kwargs.pop("stacklevel", 1) + 1, **kwargs)
        except BaseException as error:  # noqa: BLE001  a filter or handler may raise anything
            reraise_interrupt(error)
            report(f"a line could not be logged, a filter or a handler failed: {describe(error)}")


def own_logger(part: str = "") -> OwnLogger:
    """The logger of one part of the delivery."""
    return OwnLogger(logging.getLogger(f"{LOGGER_NAME}.{part}" if part else LOGGER_NAME), {})


def report(text: str) -> None:
    """Write one line to stderr. Never raises: stderr may be closed, full, replaced or missing altogether."""
    try:
        sys.stderr.write(f"{LOGGER_NAME}: {one_line(text)}\n")
        sys.stderr.flush()
    except BaseException as error:  # noqa: BLE001  the program may have put any object there
        reraise_interrupt(error)


def describe(error: BaseException) -> str:
    """The exception as `Type: message`, whatever its __str__ does."""
    try:
        return shortened(f"{kind(error)}: {str.__str__(str(error))}", LONGEST_REASON)
    except BaseException as another:  # noqa: BLE001  a hostile __str__ must not hide the failure it belongs to
        reraise_interrupt(another)
        return f"{kind(error)}: (its text could not be built)"


def kind(thing: object) -> str:
    """The name of its class, which may have a class of its own that raises for __name__."""
    return str(type.__dict__["__name__"].__get__(type(thing)))


def shown(thing: object) -> str:
    """Its repr, whatever that does."""
    try:
        return shortened(str.__str__(repr(thing)), LONGEST_REASON)
    except BaseException as error:  # noqa: BLE001  the same
        reraise_interrupt(error)
        return f"<{kind(thing)}>"
