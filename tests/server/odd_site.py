"""The blog with views that no blog has, under the parent and the workers of `quartblog run`."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import TYPE_CHECKING

from quart import Quart

from quartblog import migrations
from quartblog.app import create_app
from quartblog.serving import parent
from quartblog.serving.configuration import configuration, listen
from quartblog.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quart import Response


def make_app() -> Quart:
    """The app of the settings, with these views."""
    app = create_app()

    @app.get("/exits")
    async def exits() -> str:
        """End in a task of the view's own, which asyncio lets end the loop."""

        async def leave() -> None:
            sys.exit(3)

        await asyncio.create_task(leave())
        return "never"

    @app.get("/interrupts")
    async def interrupts() -> str:
        async def leave() -> None:
            raise KeyboardInterrupt

        async with asyncio.TaskGroup() as group:
            group.create_task(leave())
        return "never"

    @app.get("/callback")
    async def callback() -> str:
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        return "done"

    _add_endless(app)
    return app


def _add_endless(app: Quart) -> None:
    @app.get("/events")
    async def events() -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            await asyncio.Event().wait()

        response: Response = app.response_class(body(), content_type="text/event-stream")
        response.timeout = None
        return response

    @app.get("/stubborn")
    async def stubborn() -> str:
        """Wait, whoever wants it to end."""
        logging.getLogger("quartblog").info("stubborn now")
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    @app.get("/blocks")
    async def blocks() -> str:
        """Hold the event loop itself."""
        logging.getLogger("quartblog").info("blocking now")
        time.sleep(600)  # noqa: ASYNC251 - that is the fault
        return "never"


def main(workers: int) -> int:
    """Serve on a free port; the exit code."""
    migrations.upgrade(load_settings().database.url.get_secret_value())
    config = configuration("127.0.0.1", 0, workers)
    for bound, address in listen(config):
        print(f"it is at {address}", flush=True)
        bound.detach()
    return 0 if parent.serve(config, make_app, lambda text: print(text, file=sys.stderr, flush=True)) else 1


if __name__ == "__main__":
    # As a module, whose views the workers can import.
    from tests.server.odd_site import main as run

    sys.exit(run(int(sys.argv[1])))
