"""Listening sockets -> one worker process that serves the app with Hypercorn, until the parent stops it or dies."""

from __future__ import annotations

import asyncio
import inspect
import signal
import traceback
from typing import TYPE_CHECKING

from hypercorn.asyncio.run import worker_serve
from hypercorn.utils import wrap_app

from quartblog.serving.faults import STRAY

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from hypercorn.config import Config, Sockets
    from quart import Quart

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that only the parent handles.

A terminal, a service manager and `kill` of a process group signal every process at once. A worker that ended by itself
would drop its requests and unwritten records.
"""


def work(config: Config, sockets: Sockets, stop: Connection, make_app: Callable[[], Quart]) -> None:
    """Serve until `stop` reaches end of file, which also happens when the parent dies."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # The parent blocked them while it started this process.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    app = wrap_app(make_app(), config.wsgi_max_body_size, "asgi")

    async def serve() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def begin() -> None:
            # Removed, because end of file stays readable.
            loop.remove_reader(stop.fileno())
            stopping.set()

        loop.add_reader(stop.fileno(), begin)
        await worker_serve(app, config, sockets=sockets, shutdown_trigger=stopping.wait)

    with asyncio.Runner(debug=config.debug, loop_factory=_loop_factory(config)) as runner:
        loop = runner.get_loop()
        serving = loop.create_task(serve())
        while not serving.done():
            # asyncio ends the loop when any task raises one of these two. A view raised it, and fails alone.
            try:
                loop.run_until_complete(serving)
            except (SystemExit, KeyboardInterrupt) as error:
                if serving.done():
                    raise
                # A task's exception reaches its awaiter. Nobody awaits a callback, so its exception is logged here.
                if not _of_a_task(error):
                    STRAY.record("Exception in callback", error)


def _of_a_task(error: BaseException) -> bool:
    return any(frame.f_code.co_flags & inspect.CO_COROUTINE for frame, _ in traceback.walk_tb(error.__traceback__))


def _loop_factory(config: Config) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if config.worker_class != "uvloop":
        return None
    import uvloop  # noqa: PLC0415 - not installed on every platform

    return uvloop.new_event_loop
