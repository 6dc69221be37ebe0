"""Scrape -> whether this client may read -> the outbox, read in a thread for a second at most -> /metrics.

The page needs neither the blog's database nor a session. Every worker gives the same answer: it counts what the outbox
says of all of them, and nothing that this process alone knows.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder
from quart import Blueprint, Quart, Request, Response, abort, current_app, request

from quartblog.delivery import Delivery
from quartblog.delivery.tools import is_loopback
from quartblog.operations.families import Families, Known
from quartblog.operations.health import DELIVERY
from quartblog.web.seldom import Seldom

if TYPE_CHECKING:
    from quart.typing import ResponseReturnValue

    from quartblog.delivery import Outbox

logger = logging.getLogger(__name__)

blueprint = Blueprint("metrics", __name__)

PATH = "/metrics"
PATIENCE = 1.0
"""Seconds that a scrape waits for the outbox: its read takes a few milliseconds, unless the disk hangs."""
_EXTENSION = "quartblog.metrics"
# What a proxy adds. Without trusted_proxies nobody knows whether it is true, but the request came through a proxy.
_FROM_A_PROXY = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via")


def init_app(app: Quart, *, version: str, token: str, trusted_proxies: int) -> None:
    """Serve the page for this token; without one, for programs on this machine."""
    app.extensions[_EXTENSION] = _Metrics(app.extensions[DELIVERY], version, token, trusted_proxies)


@blueprint.get(PATH)
async def metrics() -> ResponseReturnValue:
    """Answer in the form that the Accept header names: OpenMetrics, or the older text of Prometheus."""
    serving: _Metrics = current_app.extensions[_EXTENSION]
    if (refusal := serving.refusal(request)) is not None:
        return refusal
    families = Families(serving.version, await serving.reading.known())
    body, content_type = _encode(families, ",".join(request.headers.getlist("Accept")))
    return Response(body, content_type=content_type, headers={"Cache-Control": "no-store"})


def _encode(families: Families, accept: str) -> tuple[bytes, str]:
    try:
        encoder, content_type = choose_encoder(accept)
        # The content type repeats the version that the client wrote.
        if not content_type.isascii():
            encoder, content_type = choose_encoder("")
    except TypeError:  # prometheus-client cannot compare a version like "1.x".
        encoder, content_type = choose_encoder("")
    return encoder(families), content_type


class _Metrics:
    """Who may read, and the reading of one app."""

    def __init__(self, delivery: Delivery, version: str, token: str, trusted_proxies: int) -> None:
        self.version = version
        self.reading = _Reading(delivery)
        self._token = token.encode()
        self._trusted_proxies = trusted_proxies
        self._wrong = Seldom(logger, logging.INFO)
        self._strange = Seldom(logger, logging.INFO)

    def refusal(self, request: Request) -> Response | None:
        """Return the answer for a client that may not read; None for one that may. Raise NotFound.

        With a token the page is no secret, and 401 says what is missing. Without one, only this machine knows of it.
        """
        if self._token:
            if self._sends_token(request):
                return None
            how = "a wrong token" if "Authorization" in request.headers else "no token"
            self._wrong.log("Refused to show /metrics to a client with %s: see [operations] metrics_token", how)
            return Response(
                "Authorization: Bearer TOKEN is needed, with [operations] metrics_token.\n",
                401,
                {"WWW-Authenticate": 'Bearer realm="metrics"'},
                content_type="text/plain; charset=utf-8",
            )
        if not self._is_here(request):
            self._strange.log(
                "Refused to show /metrics to a client that is not on this machine, or comes through a proxy or under"
                " another name than localhost: set [operations] metrics_token to let it in"
            )
            abort(404)
        return None

    def _sends_token(self, request: Request) -> bool:
        scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
        # In constant time, so that nobody finds the token one character after the other.
        return hmac.compare_digest(sent.strip().encode(), self._token) and scheme.lower() == "bearer"

    def _is_here(self, request: Request) -> bool:
        """Whether the client is on this machine: by the address that a trusted proxy passes on, else by its own."""
        if not _is_loopback_address(request.remote_addr):
            return False
        if any(name in request.headers for name in _FROM_A_PROXY):
            hops = ",".join(request.headers.getlist("X-Forwarded-For")).count(",") + 1
            # With fewer entries, the address is that of a proxy. Without trusted proxies, it always is.
            return 0 < self._trusted_proxies <= hops and "X-Forwarded-For" in request.headers
        # A page in a browser on this machine may give its own name the address 127.0.0.1, and then read the answer.
        return is_loopback(_without_port(request.headers.get("Host", "")))


class _Reading:
    """Reads the outbox in a thread of its own, one at a time: a disk that hangs holds one thread, not one a scrape."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._result: Future[Known | None] | None = None

    async def known(self) -> Known | None:
        """Return what the outbox says; None where it cannot be read within PATIENCE."""
        result = self._result
        if result is None or result.done():
            result = Future()
            # From now on no scrape that gives up can cancel it for the others.
            result.set_running_or_notify_cancel()
            # A daemon, so that a disk that hangs holds no stop.
            threading.Thread(target=self._read, args=(result,), name="metrics", daemon=True).start()
            self._result = result
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.wrap_future(result)
        except TimeoutError:
            return None

    def _read(self, result: Future[Known | None]) -> None:
        try:
            outbox = self._delivery.outbox
            result.set_result(None if outbox is None else _known(outbox))
        except BaseException as error:  # noqa: BLE001  the scrape raises it
            result.set_exception(error)


def _known(outbox: Outbox) -> Known | None:
    """Return what the file says, None for what is only in memory: that has no other worker."""
    # The file may go away, or come back, between two calls.
    on_disk = [not outbox.in_memory]
    workers = outbox.workers()
    on_disk.append(not outbox.in_memory)
    counts = outbox.counts()
    on_disk.append(not outbox.in_memory)
    totals = outbox.totals()
    on_disk.append(not outbox.in_memory)
    return Known(workers, counts, totals) if all(on_disk) else None


def _is_loopback_address(address: str | None) -> bool:
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = found.ipv4_mapped if found.version == 6 else None
    return (mapped or found).is_loopback


def _without_port(host: str) -> str:
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
