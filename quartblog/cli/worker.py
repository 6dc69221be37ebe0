"""What each worker process of `quartblog run` loads: the app, a calm answer to SIGTERM, and an end with its parent."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from typing import TYPE_CHECKING

from quartblog.app import create_app

if TYPE_CHECKING:
    from types import FrameType

    from quart import Quart

APPLICATION = f"{__name__}:serve()"


def serve() -> Quart:
    """Return the app of the settings the command was started with."""
    signal.signal(signal.SIGTERM, leave_it_to_the_parent)
    threading.Thread(target=end_with_the_parent, name="quartblog-parent", daemon=True).start()
    return create_app()


def end_with_the_parent() -> None:
    """Shut down once the parent was killed: a worker without one would keep the port from the next start."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # As the parent does it. Hypercorn hands an app nothing by which it could end its own worker.
        multiprocessing.current_process()._kwargs["shutdown_event"].set()  # type: ignore[attr-defined]  # noqa: SLF001


def leave_it_to_the_parent(number: int, _frame: FrameType | None) -> None:
    """Let the parent lead the shutdown, or `end_with_the_parent` once it is dead; end only where there never was one.

    A service manager signals every process of a service at once, and Hypercorn signals its other workers as soon as
    the first one is done: each would die in the middle of its requests and records.
    """
    if multiprocessing.parent_process() is None:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
