"""A Starlette app with the standard library's way off the event loop: QueueHandler -> QueueListener -> SMTPHandler.

Set up for speed: one record for each error, nothing written but the mail, and the shortest error page there is.
"""

import logging
import queue
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from logging.handlers import QueueHandler, QueueListener, SMTPHandler
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

mail = tomllib.loads(Path("config.toml").read_text("utf-8"))["mail"]


@asynccontextmanager
async def serving(_app: Starlette) -> AsyncIterator[None]:
    """Mail from the start to the end."""
    records: queue.Queue[logging.LogRecord] = queue.Queue(-1)
    handler = SMTPHandler((mail["server"], mail["port"]), mail["admins"][0], mail["admins"], "It failed")
    handler.setLevel(logging.ERROR)
    listener = QueueListener(records, handler, respect_handler_level=True)
    logging.root.addHandler(QueueHandler(records))
    listener.start()
    yield
    # Not listener.stop(): it would wait until every mail of the storm is sent, half a second each.


async def home(_request: Request) -> HTMLResponse:
    """Any page."""
    return HTMLResponse("<!doctype html><title>home</title>")


async def fail(_request: Request) -> HTMLResponse:
    """Fail: uvicorn logs what leaves the app, and uvicorn's loggers lead to the root logger here."""
    raise RuntimeError("this error was asked for")


app = Starlette(routes=[Route("/", home), Route("/errors/rehearsal", fail)], lifespan=serving)
