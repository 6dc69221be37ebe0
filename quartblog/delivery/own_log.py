"""Problems of the delivery itself -> its own loggers, or stderr if a record could not be delivered.

Exception of foreign code -> swallowed by the caller, or raised again where a signal handler raised it. The `__str__` of
an object in a record may raise anything, SystemExit included; so may a filter or handler. The thread that logs must not
see these exceptions, and they must not end a thread of the delivery. Ctrl-C, and any other exception of a signal
handler, may arrive in the middle of such a call. The program must see it.
"""

from __future__ import annotations

import asyncio
import dis
import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from .text.escaping import one_line, shortened

if TYPE_CHECKING:
    from types import TracebackType

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


def own_record(level: int, text: str) -> logging.LogRecord:
    """Return a record of the delivery itself, with the caller's line. It goes to sinks past the queue."""
    path, line, function, _ = logging.root.findCaller(stacklevel=2)
    return logging.LogRecord(LOGGER_NAME, level, path, line, text, None, None, func=function)


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


_TRACEBACK = BaseException.__dict__["__traceback__"]
# The instruction of a frame whose own code, or whose generator's caller, has raised. A signal arrives at other ones.
_RAISING = {dis.opmap[name] for name in ("RAISE_VARARGS", "RERAISE", "RETURN_GENERATOR", "POP_TOP")}


def reraise_interrupt(error: BaseException) -> None:
    """Raise the error again where a signal handler raised it. For an `except BaseException`."""
    if threading.get_ident() == threading.main_thread().ident and _came_by_signal(error):
        raise error


def reraise_cancellation(error: BaseException) -> None:
    """As `reraise_interrupt`, and for a task that is being cancelled: any code may raise a CancelledError by itself."""
    reraise_interrupt(error)
    if issubclass(type(error), asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise error


def _came_by_signal(error: BaseException) -> bool:
    # Not by its name: the exception's class may have a property of that name, which may raise.
    step: TracebackType | None = _TRACEBACK.__get__(error)
    if step is None:
        return False
    handlers = {id(_code(signal.getsignal(number))) for number in signal.valid_signals()} - {id(None)}
    while True:
        frame = step.tb_frame
        if id(frame.f_code) in handlers:
            return True
        if step.tb_next is None:
            break
        step = step.tb_next
    # Python's own handler of Ctrl-C has no frame.
    return (
        issubclass(type(error), KeyboardInterrupt)
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        and frame.f_code.co_code[step.tb_lasti] not in _RAISING
    )


def _code(handler: Any) -> object:
    """Return the code of a function, method, partial or callable object; None for a handler of the system."""
    if handler is None or isinstance(handler, signal.Handlers):
        return None
    handler = getattr(handler, "func", handler)
    handler = getattr(handler, "__func__", handler)
    return getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
