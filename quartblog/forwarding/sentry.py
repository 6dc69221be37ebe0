"""Error record -> an event for Sentry, GlitchTip, Bugsink or another server that speaks Sentry's protocol.

The client of sentry-sdk alone, without what `sentry_sdk.init` adds: it patches nothing, looks at no frame, starts no
thread and waits for nothing at the end of the program. The server groups by our fingerprint, and finds an event by the
tag `error_id`, the id that a visitor quotes.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import sentry_sdk
from sentry_sdk.transport import HttpTransport

from quartblog.delivery.tools import block, failures, one_line
from quartblog.forwarding.sink import TIMEOUT, ForwardingSink, NotTaken

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.types import Event as SentryEvent

    from quartblog.delivery import Event
    from quartblog.delivery.tools import Failure, Frame
    from quartblog.forwarding import ForwardingOptions

TAG_LIMIT = 200
"""Characters of a tag; Sentry drops a longer one."""


class SentrySink(ForwardingSink[sentry_sdk.Client]):
    """Sends error records as events."""

    def __init__(self, options: ForwardingOptions) -> None:
        """Use `sentry_dsn`, `release` and `host`."""
        super().__init__()
        self._options = options

    def __repr__(self) -> str:
        """Without the key."""
        return f"Sentry at {urlsplit(self._options.sentry_dsn).hostname}"

    def connect(self) -> sentry_sdk.Client:
        """Return a client that nothing else uses: `sentry_sdk.init` of the program would be another one."""
        return sentry_sdk.Client(
            dsn=self._options.sentry_dsn,
            transport=_Direct,
            # An empty one, because the library would ask Git in a process of its own.
            release=self._options.release,
            # Likewise: the library would send the machine's name.
            server_name=self._options.host,
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            include_source_context=False,
            # Both would start threads.
            auto_session_tracking=False,
            enable_backpressure_handling=False,
            send_client_reports=False,
            shutdown_timeout=0,
            debug=False,
            spotlight=False,
        )

    def disconnect(self, client: sentry_sdk.Client) -> None:
        """Close the client without waiting."""
        client.close(timeout=0)

    def send(self, client: sentry_sdk.Client, event: Event, record: logging.LogRecord) -> None:
        """Send one event."""
        if client.capture_event(sentry_event(event, failures(record))) is None:
            raise NotTaken("the client has dropped it")


def sentry_event(event: Event, chain: tuple[Failure, ...]) -> SentryEvent:
    """Return the event in Sentry's form, see https://develop.sentry.dev/sdk/data-model/event-payloads/."""
    made: dict[str, Any] = {
        "timestamp": datetime.fromtimestamp(event.created, UTC),
        "level": "fatal" if event.level >= logging.CRITICAL else "error",
        "logger": one_line(event.logger),
        "logentry": {"formatted": block(event.message)},
        "fingerprint": [event.fingerprint],
        "tags": {
            name: one_line(value)[:TAG_LIMIT]
            for name, value in (
                ("error_id", event.error_id),
                ("method", event.method),
                ("route", event.route),
                ("place", event.place),
            )
            if value
        },
        "extra": {"title": one_line(event.title), "function": one_line(event.function)},
    }
    if event.route:
        made["transaction"] = one_line(" ".join(filter(None, (event.method, event.route))))[:TAG_LIMIT]
    if event.user_id is not None:
        made["user"] = {"id": one_line(str(event.user_id))}
    if event.breadcrumbs:
        made["breadcrumbs"] = {"values": [{"message": one_line(line)} for line in event.breadcrumbs]}
    if event.traceback:
        made["extra"]["traceback"] = block(event.traceback)
    if chain:
        # The last one is shown first.
        made["exception"] = {"values": [_exception(failure) for failure in reversed(chain)]}
    return cast("SentryEvent", made)


def _exception(failure: Failure) -> dict[str, Any]:
    module, _, name = failure.kind.rpartition(".")
    made: dict[str, Any] = {"type": one_line(name), "value": block(failure.message)}
    if module:
        made["module"] = one_line(module)
    if failure.frames:
        made["stacktrace"] = {"frames": [_frame(frame) for frame in failure.frames]}
    return made


def _frame(frame: Frame) -> dict[str, Any]:
    return {
        "filename": one_line(frame.path),
        "function": one_line(frame.function),
        "lineno": frame.line,
        "context_line": one_line(frame.source),
        "in_app": frame.own,
    }


class _Direct(HttpTransport):
    """Sends on the thread that calls it, so that a loss is known at once. The library's own one has another queue."""

    TIMEOUT = TIMEOUT
    _loss = ""

    def capture_envelope(self, envelope: Envelope) -> None:
        """Send the envelope, and raise NotTaken if the server did not take it."""
        self._loss = ""
        try:
            self._send_envelope(envelope)
        except Exception as error:
            if not self._loss:
                raise
            # Its class alone, because the text has the whole address.
            raise NotTaken(f"no answer ({type(error).__name__})") from None
        if self._loss:
            raise NotTaken(_words(self._loss))

    def kill(self) -> None:
        """Close the connections too, which the library leaves to the garbage collector."""
        super().kill()
        self._pool.clear()

    def on_dropped_event(self, reason: str) -> None:
        """Keep why the library gives up; it calls this for each reason."""
        self._loss = reason


def _words(reason: str) -> str:
    kind, _, status = reason.partition("_")
    if kind == "status":
        return f"the server answered {status}"
    return "the server has asked for a pause" if reason == "self_rate_limits" else reason
