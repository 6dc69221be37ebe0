"""Workers' heartbeats and the outbox -> a table of all workers, or the same as JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from quartblog.cli.output import count, iso, moment, span, table
from quartblog.delivery.tools import SILENT, cap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from quartblog.delivery import MailingOptions, Outbox, Totals, Worker
    from quartblog.delivery.tools import Cap

    Figures = Mapping[str, Any]

_PERCENTILES = ("median_ms", "p99_ms")


class Snapshot(NamedTuple):
    """The state of the delivery at one moment."""

    at: float
    path: Path | None
    usable: bool
    """Whether the file could be read; the other fields are empty otherwise."""
    totals: Totals
    """Groups and mails in the outbox, which all workers of the host share."""
    cap: Cap
    workers: Sequence[Worker]


def look(outbox: Outbox, mailing: MailingOptions | None, clock: Callable[[], float] = time.time) -> Snapshot:
    """Read the state. `mailing` is None if the settings are invalid; `clock` returns epoch seconds."""
    now = clock()
    workers = [worker for worker in outbox.workers() if worker.runs]
    totals, digests = outbox.totals(), cap(outbox, mailing)
    return Snapshot(now, outbox.path, not outbox.in_memory, totals, digests, workers)


def as_text(snapshot: Snapshot) -> str:
    """Return the totals, then one line for each worker; a column needs a figure of at least one worker."""
    return f"{table(_head(snapshot))}\n\n{_workers(snapshot)}"


def as_data(snapshot: Snapshot) -> dict[str, Any]:
    """Return the same for JSON, with the unchanged figures of each worker."""
    return {
        "time": iso(snapshot.at),
        "outbox": {"path": str(snapshot.path), "usable": snapshot.usable},
        "totals": snapshot.totals._asdict()
        | {
            "next_try": iso(snapshot.totals.next_try),
            "last_loss": iso(snapshot.totals.last_loss),
        },
        "cap": _cap(snapshot),
        "workers": [
            {
                "worker": worker.name,
                "leader": _leads(worker),
                "heartbeat": iso(worker.at),
                "heartbeat_age": round(worker.silent, 3),
                **{name: value for name, value in worker.figures.items() if name not in {"worker", "leader"}},
            }
            for worker in snapshot.workers
        ],
    }


def _head(snapshot: Snapshot) -> list[tuple[str, str]]:
    totals = snapshot.totals
    waiting = f"{totals.waiting:,} waiting"
    if totals.next_try is not None:
        wait = totals.next_try - snapshot.at
        waiting += f" (next try {f'in {span(wait)}' if wait > 0 else 'now'})"
    groups = count(totals.open_groups, "open group")
    return [
        ("outbox", f"{snapshot.path} ({'on disk' if snapshot.usable else 'cannot be used'})"),
        ("errors", f"{groups}, {count(totals.errors, 'error')}, {totals.to_mail:,} not mailed yet"),
        ("mails", f"{waiting}, {totals.dead:,} dead"),
        ("cap", _capped(snapshot.cap)),
        *_lost(totals),
    ]


def _lost(totals: Totals) -> Iterator[tuple[str, str]]:
    """Yield a line if the outbox lost errors or mails."""
    kinds = (
        (totals.old_errors, "too old"),
        (totals.crowded_errors, "without room"),
    )
    parts = [f"{count(number, 'error')} {why}" for number, why in kinds if number]
    if totals.crowded_mails:
        parts.append(f"{count(totals.crowded_mails, 'mail')} without room")
    if parts:
        yield "lost", f"{', '.join(parts)} (the last at {moment(totals.last_loss or 0.0)}); no mail reported them"


def _cap(snapshot: Snapshot) -> dict[str, Any]:
    cap = snapshot.cap
    free_at = None if cap.wait is None else iso(snapshot.at + cap.wait)
    return {"digests": cap.digests, "per_hour": cap.per_hour, "free_at": free_at, "spent": cap.spent}


def _capped(cap: Cap) -> str:
    if cap.per_hour is None:
        return f"{count(cap.digests, 'digest')} in the last hour"
    spent = "spent: " if cap.spent else ""
    after = f", the next may leave in {span(cap.wait)}" if cap.wait is not None else ""
    return f"{spent}{cap.digests:,} of {count(cap.per_hour, 'digest')} in the last hour{after}"


def _workers(snapshot: Snapshot) -> str:
    if not snapshot.workers:
        return f"No worker is running (no heartbeat within {SILENT:g} s)"
    times = dict.fromkeys(
        key for worker in snapshot.workers for key in worker.figures if _are_percentiles(worker.figures[key])
    )
    known = [*_COLUMNS, *(_Column(f"{key.replace('_', ' ')} ms", _percentiles(key)) for key in times)]
    columns = [column for column in known if any(column.cell(worker.figures) for worker in snapshot.workers)]
    head = ("worker", "", "beat", *(column.title for column in columns))
    rows = [
        (
            worker.name,
            "leader" if _leads(worker) else "",
            f"silent for {span(worker.silent)}" if worker.hangs else f"{span(worker.silent)} ago",
            *(column.cell(worker.figures) or "-" for column in columns),
        )
        for worker in snapshot.workers
    ]
    return table([head, *rows], right=frozenset(range(2, len(head))))


def _leads(worker: Worker) -> bool:
    """Return whether it mails: one that hangs has lost the lead, though its last heartbeat does not say so."""
    return worker.leader and not worker.hangs


class _Column(NamedTuple):
    title: str
    cell: Callable[[Figures], str]
    """Returns the text for one worker, "" if the worker has no such figure."""


def _number(key: str) -> Callable[[Figures], str]:
    return lambda figures: _shown(figures.get(key))


def _trouble(key: str) -> Callable[[Figures], str]:
    """Return a cell that stays empty for zero, so that the column appears only when a worker has the problem."""
    return lambda figures: _shown(figures.get(key) or None)


def _queue(figures: Figures) -> str:
    depth, limit = _shown(figures.get("depth")), _shown(figures.get("limit"))
    return f"{depth} of {limit}" if depth and limit else depth


def _refused(figures: Figures) -> str:
    levels = figures.get("refused")
    if not isinstance(levels, dict):
        return _shown(levels)
    return ", ".join(f"{level} {_shown(number)}" for level, number in levels.items() if number) or "0"


def _percentiles(key: str) -> Callable[[Figures], str]:
    def cell(figures: Figures) -> str:
        found = figures.get(key)
        return " / ".join(_shown(found[name]) for name in _PERCENTILES) if _are_percentiles(found) else ""

    return cell


def _are_percentiles(value: object) -> TypeGuard[Figures]:
    return isinstance(value, dict) and set(_PERCENTILES) <= set(value)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


_COLUMNS = (
    _Column("queue", _queue),
    _Column("peak", _number("high_water")),
    _Column("accepted", _number("accepted")),
    _Column("refused", _refused),
    _Column("written", _number("written")),
    _Column("grouped", _number("grouped")),
    _Column("mailed", _number("mailed")),
    _Column("retried", _number("retried")),
    _Column("dead", _number("dead")),
    _Column("lost for the file", _trouble("file_lost")),
    _Column("dropped", _trouble("dropped")),
)
