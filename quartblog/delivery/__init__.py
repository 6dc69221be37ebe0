"""Logging call -> queue -> listener thread -> log file and outbox -> digests by mail, off the request path.

The call costs the caller about 10 µs: the handler freezes the message and puts the record on a bounded queue. The
listener thread formats it, writes the rotating file and counts errors in the outbox. One process of the host, the
leader, mails digests of them. With `outbox=OutboxOptions(path=...)` errors and mails survive the process.

Where to look. On the left is the path of a record, on the right are the parts beside it:

    asgi        a scope for each request                          delivery    start, stop, drain, reconfigure
    context     scope(): error ids, breadcrumbs                   pipeline    connects all parts
    capture/    handler, listener, finalizer, sinks, log file     options     settings of each part
    text/       tracebacks, formatters, escaping, redaction       statistics  counts and latencies
    grouping/   fingerprint: which errors are the same            own_log     problems of the delivery itself
    store/      the outbox: groups and mails in a SQLite file     forks       one reset in each forked child
    mail/       due groups -> digest -> SMTP server               filesystem  owner, mode and lock of each file
    __main__    the command                                       tools       parts for programs on top of the folder

Words:

    record       what `logging` made of one call                handler      queues records on the thread that logs
    event        a record as the outbox keeps it                listener     the thread that hands records to sinks
    fingerprint  equal for records of the same failure          finalizer    makes a record safe for every sink
    group        all events of one fingerprint                  sink         file, outbox, or a standard handler
    sample       an event of a group that is kept whole         formatter    record -> line of text or JSON
    digest       a mail about groups                            backlog      records that wait for a sink
    outbox       the SQLite file of a host                      leader       the process that mails for the host
    dead letter  a mail that is not tried again                 lease        time a leader leads without a renewal
    retry        a later try of a mail                          scope        one request, job or command
    copy         a digest for one other reader                  reader       somebody who gets some of the errors
    summary      a mail about a week, also a quiet one

Works in any asyncio program, or in none. It needs the libraries aiosmtplib and concurrent-log-handler. Copy the
folder beside your program, and import it by its own name. A FastAPI application, whole:

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

`ErrorScope` opens a scope for each request, in Starlette, FastAPI and Quart; a job opens its own with `scope()`.
Three limits to know:

- A handler that is on the root logger already, such as that of `logging.basicConfig()`, keeps running on the thread
  that logs, and it shows what the log file redacts. `Delivery(adopt=True)` gives it redacted records, on a thread of
  its own.
- Records of a logger with `propagate = False` do not arrive. In its own configuration uvicorn has two such loggers:
  start it with `log_config=None`, or set `logging.getLogger(name).propagate = True` for `uvicorn` and `uvicorn.access`.
- Without further code only e-mail addresses are redacted. `ErrorScope` adds the values that a visitor sent, except
  bodies; `current_scope().hide(lambda: values)` adds the rest.
"""

from .asgi import ErrorScope
from .context import Scope, current_scope, scope
from .delivery import Delivery
from .grouping.event import Event
from .mail.weekly import WeeklyTime
from .options import FileOptions, MailingOptions, MailOptions, OutboxOptions, QueueOptions, Reader
from .statistics import Percentiles, Statistics
from .store.access import AsyncOutbox, open_outbox
from .store.details import Change, Details, Fate, Quoted
from .store.groups import Group
from .store.mails import State, StoredMail
from .store.outbox import Outbox
from .store.search import Found, GroupPage, GroupState, Order, Query
from .store.weeks import Frequent, Week
from .store.workers import Leader, Totals, Worker

__all__ = [
    "AsyncOutbox",
    "Change",
    "Delivery",
    "Details",
    "ErrorScope",
    "Event",
    "Fate",
    "FileOptions",
    "Found",
    "Frequent",
    "Group",
    "GroupPage",
    "GroupState",
    "Leader",
    "MailOptions",
    "MailingOptions",
    "Order",
    "Outbox",
    "OutboxOptions",
    "Percentiles",
    "Query",
    "QueueOptions",
    "Quoted",
    "Reader",
    "Scope",
    "State",
    "Statistics",
    "StoredMail",
    "Totals",
    "Week",
    "WeeklyTime",
    "Worker",
    "current_scope",
    "open_outbox",
    "scope",
]
