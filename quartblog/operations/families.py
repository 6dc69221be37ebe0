"""Heartbeats and totals of the outbox -> the metric families of /metrics, summed over the workers.

Counts are of all processes that ever used the outbox, the ended ones included: Prometheus takes a sum that falls for a
restart, and would count the rest as new. What is true now, such as the length of a queue, is summed over all workers of
the host that run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric, Sample

from quartblog.delivery.tools import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quartblog.delivery import Statistics, Totals, Worker

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""Levels whose refusals are shown before the first one, because a rate needs the zero before it."""

_COUNTERS = (
    ("records_accepted", "accepted", "Log records that were queued."),
    ("records_written", "written", "Log records in the log file."),
    ("records_dropped", "dropped", "Log records and errors that a sink could not take, because it hung or was slow."),
    ("file_lost", "file_lost", "Log records that are not in the log file, because its disk was full, gone or hung."),
    ("errors_grouped", "grouped", "Errors counted in the outbox."),
    ("mail_retries", "retried", "Tries of a mail that had failed before."),
)
_DELAYS = (
    ("enqueue_duration", "enqueue", "Duration of the logging call, on the thread that logs"),
    ("file_delay", "to_file", "From the logging call to the log file"),
    ("mail_delay", "to_mail", "From the outbox to the mail server"),
)
_QUANTILES = {"0.5": "median_ms", "0.99": "p99_ms"}


class Known(NamedTuple):
    """What the outbox said, in one reading."""

    workers: Sequence[Worker]
    """All heartbeats in it."""
    counts: Statistics
    """The counts of all processes, the ended ones included."""
    totals: Totals


class Families:
    """One answer of /metrics, for an encoder of prometheus-client."""

    def __init__(self, version: str, known: Known | None) -> None:
        """`known`: None while the outbox cannot be read."""
        self._version = version
        self._known = known

    def collect(self) -> Iterator[Metric]:
        """Yield the families: without the outbox, only that it is missing."""
        yield InfoMetricFamily("quartblog_build", "The running version.", {"version": self._version})
        yield _gauge(
            "outbox_usable",
            "Whether the outbox can be read. While it is 0, all sums are missing.",
            self._known is not None,
        )
        if self._known is None:
            return
        running = [worker for worker in self._known.workers if worker.runs]
        yield from _workers(running)
        yield from _queues([worker.figures for worker in running])
        yield from _counts(self._known.counts)
        yield from _delays([worker.figures for worker in running])
        yield from _outbox(self._known.totals)


def _workers(running: Sequence[Worker]) -> Iterator[Metric]:
    hanging = sum(worker.hangs for worker in running)
    yield _by_label(
        GaugeMetricFamily(
            "quartblog_workers",
            f"Processes that run; hanging: without a heartbeat for {SILENT:g} s.",
            labels=["state"],
        ),
        {"alive": len(running) - hanging, "hanging": hanging},
    )
    leaders = sum(worker.leader and not worker.hangs for worker in running)
    yield _gauge("mail_leaders", "Processes that send the mails of this host: 1, or 0 where nobody mails.", leaders)


def _queues(running: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    yield _gauge("queue_records", "Log records that wait in the queues now.", _sum(running, "depth"))
    yield _gauge("queue_limit_records", "Log records that the queues hold.", _sum(running, "limit"))
    yield _gauge(
        "queue_high_water_records",
        "The most log records that waited in each queue since its start, summed.",
        _sum(running, "high_water"),
    )
    shares = [_number(each, "high_water") / limit for each in running if (limit := _number(each, "limit"))]
    yield _gauge(
        "queue_fullest_ratio",
        "The same as a share of the limit, of the worker whose queue was fullest; 1 is full.",
        max(shares, default=0),
    )


def _counts(counts: Statistics) -> Iterator[Metric]:
    for name, key, words in _COUNTERS:
        yield CounterMetricFamily(f"quartblog_{name}", words, value=getattr(counts, key))
    yield _by_label(
        CounterMetricFamily(
            "quartblog_records_refused", "Log records that found the queue full, by level.", labels=["level"]
        ),
        dict.fromkeys(LEVELS, 0) | dict(counts.refused),
    )
    yield _by_label(
        CounterMetricFamily(
            "quartblog_mails",
            "Mails that have ended; sent: the server took them for at least one recipient, dead: given up.",
            labels=["outcome"],
        ),
        {"sent": counts.mailed, "dead": counts.dead},
    )


def _delays(running: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    for name, key, what in _DELAYS:
        words = f"{what}; of the slowest worker, of its newest 1,024."
        family = Metric(f"quartblog_{name}", words, "summary", "seconds")
        found = [each[key] for each in running if isinstance(each.get(key), dict)]
        for quantile, percentile in _QUANTILES.items():
            if values := [round(_number(each, percentile) / 1000, 9) for each in found]:
                # A summary of the library itself has only a count and a sum, which no heartbeat has.
                family.samples.append(Sample(family.name, {"quantile": quantile}, max(values)))
        yield family


def _outbox(totals: Totals) -> Iterator[Metric]:
    yield _by_label(
        GaugeMetricFamily("quartblog_outbox_mails", "Mails in the outbox.", labels=["state"]),
        {"waiting": totals.waiting, "dead": totals.dead, "sent": totals.sent},
    )
    yield _by_label(
        GaugeMetricFamily("quartblog_error_groups", "Groups of equal errors in the outbox.", labels=["state"]),
        {"open": totals.open_groups, "resolved": totals.resolved_groups},
    )
    yield _gauge("open_errors", "Errors of the open groups.", totals.errors)
    yield _gauge("unmailed_errors", "Errors of the open groups that no mail has reported.", totals.to_mail)
    yield _by_label(
        CounterMetricFamily(
            "quartblog_outbox_lost_errors",
            "Errors deleted from the outbox before a mail reported them, since the file was created.",
            labels=["reason"],
        ),
        {"age": totals.old_errors, "room": totals.crowded_errors},
    )
    yield CounterMetricFamily(
        "quartblog_outbox_lost_mails",
        "Mails whose text was deleted to make room before anybody got them, since the file was created.",
        value=totals.crowded_mails,
    )


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"quartblog_{name}", words, value=value)


def _by_label(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]) -> Metric:
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _sum(figures: Sequence[Mapping[str, Any]], key: str) -> float:
    return sum(_number(each, key) for each in figures)


def _number(figures: Mapping[str, Any], key: str) -> float:
    """Return a figure, 0 where a worker of another version has none."""
    value = figures.get(key)
    return value if isinstance(value, int | float) else 0
