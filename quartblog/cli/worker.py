"""What each worker process of `quartblog run` loads: the app, and a calm answer to SIGTERM."""

from __future__ import annotations

import multiprocessing
import signal
from typing import TYPE_CHECKING

from quartblog.app import create_app

if TYPE_CHECKING:
    from types import FrameType

    from quart import Quart

APPLICATION = f"{__name__}:serve()"


def serve() -> Quart:
    """Return the app of the settings the command was started with."""
    signal.signal(signal.SIGTERM, leave_it_to_the_parent)
    return create_app()


def leave_it_to_the_parent(number: int, _frame: FrameType | None) -> None:
    """Let the parent lead the shutdown; end only where there is none.

    A service manager signals every process of a service at once, and Hypercorn signals its other workers as soon as
    the first one is done: each would die in the middle of its requests and records.
    """
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
