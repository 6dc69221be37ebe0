"""Moments of the monotonic clock by which something is to be done, and work that may miss them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from .own_log import LOGGER_NAME

T = TypeVar("T")

MOMENT = 0.2
"""Seconds each part has to end, however late it is."""
THREAD = f"{LOGGER_NAME}-change"
"""The thread of such work."""


def left(deadline: float) -> float:
    """Seconds until then, never below zero."""
    return max(0.0, deadline - time.monotonic())


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do what may wait for a disk that hangs. Raise TimeoutError when it is late: it goes on by itself then."""
    outcome: Future[T] = Future()

    def do() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            outcome.set_exception(error)

    # A daemon: nor does the end of the program wait for it.
    thread = threading.Thread(target=do, name=THREAD, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome.result(0)
