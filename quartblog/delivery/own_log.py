"""Problems of the delivery itself -> its own loggers, or stderr if a record could not be delivered."""

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
"""The name by which a program imports this folder. Names of threads and lines on stderr begin with it.

Records of this logger, and of those below it, reach the file and never a mail.
"""

MAILER_THREAD = f"{LOGGER_NAME}-mailer"
"""The thread that mails. No record of this thread reaches a mail, whatever library logs it."""

LONGEST_REASON = 1_000
"""Characters of an exception or an object in one message."""


class OwnLogger(_Adapter):
    """A logger for the delivery's threads. A filter or a handler that raises does not stop the thread."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log as any logger does. Never raises."""
        try:
            # One more level for this method, so that the record names the line of its caller.
            super().log(level, msg, *args, stacklevel=kwargs.pop("stacklevel", 1) + 1, **kwargs)
        except BaseException as error:  # noqa: BLE001  a filter or handler may raise anything
            reraise_interrupt(error)
            report(f"a record could not be logged, because a filter or a handler failed: {describe(error)}")


def own_logger(part: str = "") -> OwnLogger:
    """Return the logger of one part of the delivery."""
    return OwnLogger(logging.getLogger(f"{LOGGER_NAME}.{part}" if part else LOGGER_NAME), {})


def report(text: str) -> None:
    """Write one line to stderr. Never raises: stderr may be closed, full, replaced or missing."""
    try:
        sys.stderr.write(f"{LOGGER_NAME}: {one_line(text)}\n")
        sys.stderr.flush()
    except BaseException as error:  # noqa: BLE001  sys.stderr may be any object
        reraise_interrupt(error)


def describe(error: BaseException) -> str:
    """Return the exception as `Type: message`, whatever its `__str__` does."""
    try:
        return shortened(f"{kind(error)}: {str.__str__(str(error))}", LONGEST_REASON)
    except BaseException as another:  # noqa: BLE001  a __str__ that raises must not hide the exception
        reraise_interrupt(another)
        return f"{kind(error)}: (its text could not be built)"


def kind(thing: object) -> str:
    """Return the name of the object's class, even if its metaclass raises for `__name__`."""
    return str(type.__dict__["__name__"].__get__(type(thing)))


def shown(thing: object) -> str:
    """Return the object's repr, or the name of its class if that raises."""
    try:
        return shortened(str.__str__(repr(thing)), LONGEST_REASON)
    except BaseException as error:  # noqa: BLE001  a __repr__ may raise anything
        reraise_interrupt(error)
        return f"<{kind(thing)}>"
