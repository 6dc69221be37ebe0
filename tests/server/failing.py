"""A program that fails on request and knows quartblog.delivery alone.

Reads orders from its standard input, one JSON object a line, and answers each failure with its error id and the
moment it was accepted, a second of `time.monotonic`, which all processes of a machine share; ends when that input does.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from quartblog.delivery import Delivery, FileOptions, MailingOptions, MailOptions, OutboxOptions, scope

READY = "ready"


def serve(order: dict[str, Any]) -> None:
    """Fail as the standard input orders, until it ends."""
    delivery = Delivery(
        file=FileOptions(path=Path(order["log"]), **order["file"]),
        mail=MailOptions(
            server="127.0.0.1", port=order["port"], sender="site@example.org", admins=("ada@example.org",)
        ),
        outbox=OutboxOptions(path=Path(order["outbox"])),
        mailing=MailingOptions(**order["mailing"]),
    )
    numbers = itertools.count(1)
    with delivery:
        print(READY, flush=True)
        for line in sys.stdin:
            wanted = json.loads(line)
            kind = type(wanted["kind"], (RuntimeError,), {})
            for _ in range(wanted["times"]):
                print(*fail(kind, next(numbers)), flush=True)
                if wanted["pause"]:
                    time.sleep(wanted["pause"])


def fail(kind: type[Exception], number: int) -> tuple[str, float]:
    """One request that fails; its error id, and when it is answered."""
    with scope() as request:
        try:
            view(kind, number)
        except kind:
            logging.getLogger("site").exception("request %d failed", number)
        return request.error_id, time.monotonic()


def view(kind: type[Exception], number: int) -> None:
    """What a site would do for the request."""
    raise kind(f"request {number}")


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
