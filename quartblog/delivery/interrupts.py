"""Exception of foreign code -> swallowed by the caller, or raised again where a signal handler raised it.

The `__str__` of an object in a record may raise anything, SystemExit included; so may a filter or handler. The thread
that logs must not see these exceptions, and they must not end a thread of the delivery. Ctrl-C, and any other exception
of a signal handler, may arrive in the middle of such a call. The program must see it.
"""

from __future__ import annotations

import asyncio
import dis
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

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
