"""Error record -> a log record for an OpenTelemetry collector, by OTLP over HTTP with protobuf.

The exporter of the OpenTelemetry SDK alone, without its pipeline: no provider, no batch and no thread. Names of
attributes follow OpenTelemetry's semantic conventions where these have one; ours begin with `quartblog.`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

# Python's OpenTelemetry has logs below an underscore only; the collector's side of them is stable.
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from quartblog.delivery.tools import block, failures, one_line
from quartblog.forwarding.sink import TIMEOUT, ForwardingSink, NotTaken

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from quartblog.delivery import Event
    from quartblog.delivery.tools import Failure
    from quartblog.forwarding import ForwardingOptions

SERVICE = "quartblog"
"""The name of the service that the collector shows; OTEL_SERVICE_NAME does not change it."""

NANOSECONDS = 1_000_000_000


class OtlpSink(ForwardingSink[OTLPLogExporter]):
    """Sends error records as log records."""

    def __init__(self, options: ForwardingOptions) -> None:
        """Use `otlp_endpoint`, `otlp_headers`, `release` and `host`."""
        super().__init__()
        self._options = options
        self._answer = ""
        names = {"service.name": SERVICE, "service.version": options.release, "host.name": options.host}
        # Reads OTEL_RESOURCE_ATTRIBUTES as well, such as deployment.environment.name=staging.
        self._resource = Resource.create({name: value for name, value in names.items() if value})

    def __repr__(self) -> str:
        """Without anything but the host, because a path may hold a key."""
        return f"OpenTelemetry at {urlsplit(self._options.otlp_endpoint).hostname}"

    def connect(self) -> OTLPLogExporter:
        """Return an exporter."""
        session = requests.Session()
        session.hooks["response"] = [self._check]
        return OTLPLogExporter(
            session=session,
            endpoint=self._options.otlp_endpoint,
            headers=dict(self._options.otlp_headers),
            timeout=TIMEOUT,
            compression=Compression.Gzip,
        )

    def disconnect(self, client: OTLPLogExporter) -> None:
        """Close the exporter; a retry that waits ends."""
        client.shutdown()  # type: ignore[no-untyped-call]

    def send(self, client: OTLPLogExporter, event: Event, record: logging.LogRecord) -> None:
        """Send one log record."""
        # Equal loggers have equal scopes, as in OpenTelemetry's own handler.
        scope = InstrumentationScope(one_line(event.logger))
        made = ReadableLogRecord(log_record(event, failures(record)), self._resource, scope)
        self._answer = "no answer"
        if client.export([made]) is not LogRecordExportResult.SUCCESS:
            raise NotTaken(self._answer)

    def _check(self, response: requests.Response, **_: object) -> None:
        """Look at each answer, because the exporter says only that it failed, and takes two losses for a success."""
        self._answer = f"the collector answered {response.status_code}"
        if response.is_redirect:
            # Nobody else does, after an exception of a hook.
            response.close()
            raise NotTaken(self._answer)
        if response.ok and ExportLogsServiceResponse.FromString(response.content).partial_success.rejected_log_records:
            self._answer = "the collector has rejected it"
            raise NotTaken(self._answer)


def log_record(event: Event, chain: tuple[Failure, ...]) -> LogRecord:
    """Return the event in OpenTelemetry's form."""
    is_critical = event.level >= logging.CRITICAL
    return LogRecord(
        timestamp=int(event.created * NANOSECONDS),
        observed_timestamp=time.time_ns(),
        severity_text="CRITICAL" if is_critical else "ERROR",
        severity_number=SeverityNumber.FATAL if is_critical else SeverityNumber.ERROR,
        body=block(event.message),
        attributes=_attributes(event, chain),
    )


def _attributes(event: Event, chain: tuple[Failure, ...]) -> dict[str, AttributeValue]:
    path, _, line = event.place.rpartition(":")
    texts = {
        "quartblog.error_id": event.error_id,
        "quartblog.fingerprint": event.fingerprint,
        "quartblog.title": event.title,
        "http.request.method": event.method,
        "http.route": event.route,
        "user.id": None if event.user_id is None else str(event.user_id),
        "code.file.path": path,
        "code.function.name": event.function,
        "exception.type": chain[0].kind if chain else None,
    }
    made: dict[str, AttributeValue] = {name: one_line(text) for name, text in texts.items() if text}
    if line.isdecimal():
        made["code.line.number"] = int(line)
    if chain:
        made["exception.message"] = block(chain[0].message)
    if event.traceback:
        made["exception.stacktrace"] = block(event.traceback)
    if event.breadcrumbs:
        made["quartblog.breadcrumbs"] = tuple(map(one_line, event.breadcrumbs))
    return made
