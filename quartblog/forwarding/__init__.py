"""Error record -> a Sentry-compatible server or an OpenTelemetry collector, where the errors of many hosts meet.

Off by default. Each is one more sink of the delivery, with a thread of its own: its server may be away, slow or silent
without delaying a page, the log file, the mail or a stop. It gets what the mail shows: redacted, without the variables
of frames. A record that the server does not take is lost for it; that is counted, and stderr reports it once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

__all__ = ["ForwardingOptions", "forwarding_sinks"]


@dataclass(frozen=True, slots=True)
class ForwardingOptions:
    """Where error records go, and what they say of this site."""

    sentry_dsn: str = field(default="", repr=False)
    """The address of a Sentry project with its key, "" for none."""
    otlp_endpoint: str = ""
    """The address to which a collector's logs are posted, "" for none."""
    otlp_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers for the collector, such as one with a token."""
    release: str = ""
    """The version that runs."""
    host: str = ""
    """The name of this host, "" to send none."""


def forwarding_sinks(options: ForwardingOptions) -> tuple[logging.Handler, ...]:
    """Return the sinks that are wanted; none connects before the first record. Their owner closes them."""
    # The libraries are extras, and take a fifth of a second each to load.
    sinks: list[logging.Handler] = []
    if options.sentry_dsn:
        from quartblog.forwarding.sentry import SentrySink  # noqa: PLC0415  the reason is above

        sinks.append(SentrySink(options))
    if options.otlp_endpoint:
        from quartblog.forwarding.otlp import OtlpSink  # noqa: PLC0415  the same

        sinks.append(OtlpSink(options))
    return tuple(sinks)
