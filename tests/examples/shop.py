"""A FastAPI application: each failure is logged, grouped and mailed, and the page shows its error id."""

from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from delivery import Delivery, ErrorScope, FileOptions, MailOptions, OutboxOptions
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

FILE = FileOptions(path=Path("logs/shop.log"))
OUTBOX = OutboxOptions(path=Path("logs/outbox.sqlite3"))
MAIL = MailOptions(
    server="localhost",
    sender="shop@example.org",
    admins=("ada@example.org",),
    site="Shop",
    command=f"python -m delivery --outbox {OUTBOX.path}",
)


@asynccontextmanager
async def lifespan(api):
    with Delivery(file=FILE, outbox=OUTBOX, mail=MAIL):
        yield


api = FastAPI(lifespan=lifespan)


@api.exception_handler(Exception)
async def failed(request: Request, error: Exception):
    return HTMLResponse(f"<p>Sorry. The error id is {request.state.error_id}.</p>", 500)


@api.get("/orders/{number}")
async def order(number: str):
    raise LookupError(f"There is no order {number}")


# Around everything: Starlette runs `failed` outside of all middleware that is added to the application.
app = ErrorScope(api)

if __name__ == "__main__":
    # With log_config=None uvicorn's records reach the root logger, and with it the delivery.
    uvicorn.run(app, port=8000, log_config=None)
