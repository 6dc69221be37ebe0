"""Plan of an error storm -> the real pipeline in a temporary folder -> measured results.

The rehearsal does not touch the site: log file and outbox are temporary, and its private mail server runs on this
machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import re
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quartblog.delivery import Delivery, Outbox, OutboxOptions, Percentiles
from quartblog.delivery.tools import cap, send_due
from quartblog.rehearsal.report import Peaks, Rehearsed
from quartblog.rehearsal.server import RehearsalServer
from quartblog.rehearsal.storm import TICK, Storm, kinds_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from quartblog.delivery import FileOptions, MailingOptions, MailOptions, QueueOptions, Statistics
    from quartblog.rehearsal.report import Plan
    from quartblog.rehearsal.server import Taken

PROBES = 20
"""Measurements per second of the time until a record is in file and outbox."""
AT_ONCE = 256
"""The most measurements that wait at the same time."""
PATIENCE = 5.0
"""Seconds to wait for mail after the storm, in addition to the delays of the plan."""
NEXT_DIGEST = 10.0
"""The most seconds to wait for the next digest after the storm, even if batch_seconds is longer."""
DRAINING = 60.0
"""Seconds the queue may take to empty after the storm."""
MANY = 10_000
"""The most groups and mails that the report counts."""

_COUNTED = re.compile(r"\b(\d+) errors?\b")


@dataclass(frozen=True, slots=True)
class Stage:
    """The options under rehearsal."""

    queue: QueueOptions
    file: FileOptions
    mail: MailOptions
    """The rehearsal uses only its texts and timeout, and its own mail server."""
    mailing: MailingOptions
    """The rehearsal ignores its readers, so that no mail goes to them."""


def rehearse(stage: Stage, plan: Plan) -> Rehearsed:
    """Run the plan's storm against the options and return the results. Raise OSError.

    This takes about plan.seconds, and longer with a slow or unreachable mail server. The rehearsal adds a handler to
    the root logger, so run it in a separate process.
    """
    with (
        tempfile.TemporaryDirectory(prefix="rehearsal-") as folder,
        RehearsalServer(delay=plan.smtp_delay, down=plan.smtp_down) as server,
    ):
        outbox = Outbox(OutboxOptions(Path(folder) / "outbox.sqlite3"))
        try:
            return _Rehearsal(_inside(stage, Path(folder), server.port), plan, server, outbox).run()
        finally:
            outbox.close()


def _inside(stage: Stage, folder: Path, port: int) -> Stage:
    """Return the options with a temporary folder and the private mail server."""
    return replace(
        stage,
        file=replace(stage.file, path=folder / stage.file.path.name),
        mail=replace(stage.mail, server="127.0.0.1", port=port, tls="none", username="", password=""),
        mailing=replace(stage.mailing, readers=()),
    )


class _Rehearsal:
    def __init__(self, stage: Stage, plan: Plan, server: RehearsalServer, outbox: Outbox) -> None:
        self._stage, self._plan, self._server, self._outbox = stage, plan, server, outbox
        self._delivery = Delivery(
            queue=stage.queue,
            file=stage.file,
            mail=stage.mail,
            mailing=stage.mailing,
            outbox=OutboxOptions(path=outbox.path or Path()),
        )
        self._storm = Storm(plan)
        self._ways: list[float] = []
        self._depths = Peaks(TICK)

    def run(self) -> Rehearsed:
        self._outbox.open()  # Creates the file, which a running site has already.
        self._delivery.start()
        try:
            self._server.open()
            with _probing(self._delivery, self._ways):
                begun = time.perf_counter()
                asyncio.run(self._storm.rage(self._look))
                emptied = self._delivery.drain(DRAINING)
                drained = time.perf_counter() - begun
            self._depths.note(drained, 0)
            figures = self._delivery.statistics()
            self._wait_for_mail()
        finally:
            self._delivery.stop()
        in_time = self._server.taken()
        self._send_the_rest()
        return self._report(figures, drained if emptied else None, in_time)

    def _look(self, at: float) -> None:
        self._depths.note(at, self._within_the_queue(self._delivery.statistics().depth))

    def _within_the_queue(self, depth: int) -> int:
        # The queue also holds the markers of waiting drain() calls.
        return min(depth, self._stage.queue.size)

    def _wait_for_mail(self) -> None:
        """Wait until a mail has reported every kind and no mail waits, for as long as the plan's delays allow."""
        plan, mailing = self._plan, self._stage.mailing
        patience = PATIENCE + min(mailing.batch_seconds, NEXT_DIGEST) + 3 * plan.smtp_delay
        if plan.smtp_down:
            patience += plan.smtp_down + min(mailing.retry_max, mailing.retry_min + 2 * plan.smtp_down)
        deadline = time.monotonic() + patience
        while self._awaits_mail() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _awaits_mail(self) -> bool:
        if self._outbox.totals().waiting:
            return True
        if cap(self._outbox, self._stage.mailing).spent:
            return False
        return any(group.reported == 0 for group in self._outbox.unreported(samples=0))

    def _send_the_rest(self) -> None:
        """Send the digests that would leave at the end of the window."""
        asyncio.run(send_due(self._outbox, self._stage.mail, self._stage.mailing, everything=True))

    def _report(self, figures: Statistics, drained: float | None, in_time: list[Taken]) -> Rehearsed:
        taken, storm = self._server.taken(), self._storm
        ways_to_mail = _ways_to_mail(in_time, storm.first_seen)
        groups = self._outbox.groups(resolved=None, limit=MANY, samples=0)
        mails = self._outbox.mails(limit=MANY)
        return Rehearsed(
            plan=self._plan,
            lasted=storm.lasted,
            drained=drained,
            offered=storm.offered,
            refused=figures.refused,
            size=self._stage.queue.size,
            high_water=self._within_the_queue(figures.high_water),
            depths=tuple(self._depths.samples),
            call=Percentiles.of(storm.costs),
            to_file=Percentiles.of(self._ways),
            to_mail=Percentiles.of(ways_to_mail),
            kinds_in_time=len(ways_to_mail),
            grouped=sum(group.count for group in groups),
            in_time=len(in_time),
            mails=len(taken),
            counted=sum(map(_counted, taken)),
            held=sum(group.count - group.reported for group in groups),
            waiting=sum(mail.state == "waiting" for mail in mails),
            dead=sum(mail.state == "dead" for mail in mails),
            tries=sum(mail.tries for mail in mails),
        )


@contextlib.contextmanager
def _probing(delivery: Delivery, ways: list[float]) -> Iterator[None]:
    """Measure at even intervals how long a record takes to file and outbox, and append the seconds to `ways`."""
    over = threading.Event()

    def probe() -> None:
        begun = time.perf_counter()
        if delivery.drain(DRAINING):
            ways.append(time.perf_counter() - begun)

    def keep_on(submit: Callable[[Callable[[], None]], object]) -> None:
        submit(probe)
        while not over.wait(1 / PROBES):
            submit(probe)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="rehearsal-probe") as pool:
        clockwork = threading.Thread(target=keep_on, args=(pool.submit,), name="rehearsal-clockwork")
        clockwork.start()
        try:
            yield
        finally:
            over.set()
            clockwork.join()


def _parsed(mail: Taken) -> tuple[str, str]:
    """Return subject and text, decoded."""
    message = email.message_from_bytes(mail.data, policy=email.policy.default)
    body = message.get_body(("plain",))
    return str(message["Subject"]), "" if body is None else str(body.get_content())


def _counted(mail: Taken) -> int:
    found = _COUNTED.search(_parsed(mail)[0])
    return int(found[1]) if found else 0


def _ways_to_mail(mails: list[Taken], first_seen: Mapping[int, float]) -> list[float]:
    """Return, for each mailed kind of failure, the seconds from its first failure to the first mail that reports it."""
    mailed: dict[int, float] = {}
    for mail in mails:
        for kind in kinds_in(_parsed(mail)[1]):
            mailed.setdefault(kind, mail.at)
    return [at - first_seen[kind] for kind, at in mailed.items()]
