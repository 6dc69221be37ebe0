"""One worker process of `quartblog run`: the app, served by Hypercorn, until the parent says stop or is gone."""

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
"""What the parent alone answers.

A terminal, a service manager and `kill` of a process group signal every process at once: a worker that ended by itself
would break off its requests and what it has to write.
"""


def work(config: Config, sockets: Sockets, stop: Connection, make_app: Callable[[], Quart]) -> None:
    """Serve until `stop` can be read, which it also can once the parent is dead."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # The parent blocked them while it started this process.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    app = wrap_app(make_app(), config.wsgi_max_body_size, "asgi")

    async def serve() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def begin() -> None:
            # Once: its end can be read again and again.
            loop.remove_reader(stop.fileno())
            stopping.set()

        loop.add_reader(stop.fileno(), begin)
        await worker_serve(app, config, sockets=sockets, shutdown_trigger=stopping.wait)

    with asyncio.Runner(debug=config.debug, loop_factory=_loop_factory(config)) as runner:
        loop = runner.get_loop()
        serving = loop.create_task(serve())
        while not serving.done():
            # asyncio lets these two end the loop, whichever task raised them: here it is a view's, and fails alone.
            try:
                loop.run_until_complete(serving)
            except (SystemExit, KeyboardInterrupt) as error:
                if serving.done():
                    raise
                # A task keeps its exception for whoever awaits it; a callback has nobody.
                if not _of_a_task(error):
                    STRAY.record("Exception in callback", error)


def _of_a_task(error: BaseException) -> bool:
    return any(frame.f_code.co_flags & inspect.CO_COROUTINE for frame, _ in traceback.walk_tb(error.__traceback__))


def _loop_factory(config: Config) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if config.worker_class != "uvloop":
        return None
    import uvloop  # noqa: PLC0415 - installed only where there is one

    return uvloop.new_event_loop
