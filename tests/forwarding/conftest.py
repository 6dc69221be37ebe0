"""Both kinds of destinations, as a test sees them: a section of the settings, and what has arrived."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Delivery, FileOptions, OutboxOptions
from quartblog.forwarding import ForwardingOptions, forwarding_sinks
from tests.support.collecting import CollectingServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "a-token-of-the-collector"


@dataclass
class Destination:
    """A server of one kind."""

    kind: str
    server: CollectingServer

    @property
    def section(self) -> dict[str, object]:
        """The section [forwarding] that leads to it."""
        address = f"127.0.0.1:{self.server.port}"
        if self.kind == "sentry":
            return {"sentry_dsn": f"http://{KEY}@{address}/3"}
        return {"otlp_endpoint": f"http://{address}", "otlp_headers": [f"Authorization: Bearer {TOKEN}"]}

    @property
    def options(self) -> ForwardingOptions:
        """The same for a delivery without a site."""
        address = f"127.0.0.1:{self.server.port}"
        if self.kind == "sentry":
            return ForwardingOptions(sentry_dsn=f"http://{KEY}@{address}/3", release="7.1")
        return ForwardingOptions(otlp_endpoint=f"http://{address}/v1/logs", release="7.1")

    def messages(self) -> list[str]:
        """The messages that have arrived, in order."""
        if self.kind == "sentry":
            return [event["logentry"]["formatted"] for event in events(self.server)]
        return [record.body.string_value for record in log_records(self.server)]

    def error_ids(self) -> list[str]:
        """The error ids that have arrived, in order."""
        if self.kind == "sentry":
            return [event["tags"]["error_id"] for event in events(self.server)]
        return [attributes(record)["quartblog.error_id"] for record in log_records(self.server)]


def events(server: CollectingServer) -> list[dict[str, Any]]:
    """The events of the envelopes that a Sentry-compatible server got, see Sentry's description of envelopes."""
    found = []
    for post in server.posts:
        header, *items = post.body.split(b"\n")
        assert json.loads(header).keys() >= {"event_id", "sent_at"}
        described, payload, *rest = items
        assert json.loads(described)["type"] == "event"
        assert json.loads(described)["length"] == len(payload)
        assert rest in ([], [b""]), "an envelope has one event and nothing else"
        # Servers in other languages refuse a lone surrogate, which Python reads.
        event: dict[str, Any] = json.loads(payload)
        json.dumps(event, ensure_ascii=False).encode()
        found.append(event)
    return found


def requests(server: CollectingServer) -> list[Any]:
    """What a collector got, decoded by OpenTelemetry's own description of its protocol."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # noqa: PLC0415  it may be missing
        ExportLogsServiceRequest,
    )

    return [ExportLogsServiceRequest.FromString(post.body) for post in server.posts]


def log_records(server: CollectingServer) -> list[Any]:
    """The log records of these requests."""
    return [
        record
        for request in requests(server)
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def attributes(thing: Any) -> dict[str, Any]:
    """The attributes of a log record or a resource as texts, numbers and lists."""
    return {each.key: _value(each.value) for each in thing.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


LIBRARY = {"sentry": "sentry_sdk", "otlp": "opentelemetry"}


def need(kind: str) -> None:
    """Skip a test whose library is missing: the blog works without."""
    if find_spec(LIBRARY[kind]) is None:
        pytest.skip(f'needs pip install "quartblog[{kind}]"')


@pytest.fixture
def server() -> Iterator[CollectingServer]:
    with CollectingServer() as server:
        yield server


@pytest.fixture
def sentry(server: CollectingServer) -> Destination:
    need("sentry")
    return Destination("sentry", server)


@pytest.fixture
def otlp(server: CollectingServer) -> Destination:
    need("otlp")
    return Destination("otlp", server)


@pytest.fixture(params=["sentry", "otlp"])
def destination(request: pytest.FixtureRequest, server: CollectingServer) -> Destination:
    need(request.param)
    return Destination(request.param, server)


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "site.log"


@pytest.fixture
def forward(log_file: Path, tmp_path: Path, server: CollectingServer) -> Iterator[Callable[[Destination], Delivery]]:
    """Start a delivery that forwards. It stops before the server."""
    running = []

    def forward(destination: Destination) -> Delivery:
        sinks = forwarding_sinks(destination.options)
        delivery = Delivery(
            file=FileOptions(path=log_file), outbox=OutboxOptions(tmp_path / "outbox.sqlite3"), extra_sinks=sinks
        )
        running.append((delivery, sinks))
        delivery.start()
        return delivery

    yield forward
    for delivery, sinks in running:
        delivery.stop()
        for sink in sinks:
            sink.close()
