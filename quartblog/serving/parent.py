"""Signals -> the parent process -> workers that it starts, restarts and always ends."""

from __future__ import annotations

import multiprocessing
import signal
import socket
import time
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from quartblog.serving.worker import SIGNALS, work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import SpawnProcess

    from hypercorn.config import Config, Sockets
    from quart import Quart

_CONTEXT = multiprocessing.get_context("spawn")


class _Workers:
    """The worker processes between two restarts."""

    def __init__(self, config: Config, make_app: Callable[[], Quart], sockets: Sockets) -> None:
        self._config = config
        self._sockets = sockets
        self._make_app = make_app
        # The parent never writes. The workers stop at end of file, which also comes when the parent dies.
        self._told, self._tell = _CONTEXT.Pipe(duplex=False)
        self.running: list[SpawnProcess] = []
        self.troubles: list[str] = []
        """A sentence for each worker that ended by itself, failed while it stopped or had to be killed."""

    def fill(self) -> None:
        """Start the missing workers."""
        for _ in range(self._config.workers - len(self.running)):
            worker = _CONTEXT.Process(
                target=work, args=(self._config, self._sockets, self._told, self._make_app), daemon=True
            )
            # The worker inherits the mask: a signal to the process group must not end it before it ignores signals.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                worker.start()
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self.running.append(worker)

    def any_failed(self) -> bool:
        """Whether a worker ended with a failure; one that has answered `max_requests` has not failed."""
        gone = [worker for worker in self.running if worker.exitcode is not None]
        self.running = [worker for worker in self.running if worker not in gone]
        failed = [worker for worker in gone if worker.exitcode]
        self.troubles += [
            f"a worker ended by itself ({_fate(worker)}), so all were stopped; the site's or system's log may say why"
            for worker in failed
        ]
        return bool(failed)

    def stop(self) -> None:
        """Ask all workers to end, and kill those that take longer than `bound()`."""
        self._tell.close()
        late = 0
        deadline = time.monotonic() + bound(self._config)
        for worker in self.running:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.exitcode is None:
                late += 1
                worker.kill()
                worker.join()
            elif worker.exitcode:
                self.troubles.append(f"a worker failed while it stopped ({_fate(worker)})")
        if late:
            one = "a worker was" if late == 1 else f"{late} workers were"
            self.troubles.append(f"{one} killed because the stop took more than {bound(self._config):g} s")
        self._told.close()


def _fate(worker: SpawnProcess) -> str:
    code = worker.exitcode or 0
    return f"process {worker.pid} by {f'signal {-code}' if code < 0 else f'exit code {code}'}"


def bound(config: Config) -> float:
    """Seconds a stop may take."""
    return config.graceful_timeout + config.shutdown_timeout


def serve(
    config: Config,
    make_app: Callable[[], Quart],
    report: Callable[[str], None],
    refusal: Callable[[], str | None] = lambda: None,
) -> bool:
    """Serve with `config.workers` processes until SIGINT or SIGTERM; SIGHUP replaces the workers.

    Each worker calls `make_app`, which must be picklable. Return False when a worker failed or had to be killed;
    `report` receives the reason. Before a restart, `refusal` returns why new workers could not start, or None.
    """
    sockets = config.create_sockets()
    well = True
    asked = {signal.SIGHUP}
    with _signals() as received:
        try:
            while asked == {signal.SIGHUP}:
                workers = _Workers(config, make_app, sockets)
                try:
                    asked = _watch(workers, received, report, refusal)
                finally:
                    workers.stop()
                asked |= _read(received)
                well = well and not workers.troubles
                for trouble in workers.troubles:
                    report(trouble)
        finally:
            for each in (*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets):
                each.close()
    return well


def _watch(
    workers: _Workers, received: socket.socket, report: Callable[[str], None], refusal: Callable[[], str | None]
) -> set[signal.Signals]:
    """Keep the workers running until signals ask for a stop or restart. Return them; none when a worker failed."""
    while True:
        # Replaces workers that have answered `max_requests`, too.
        workers.fill()
        wait([received, *(worker.sentinel for worker in workers.running)])
        if workers.any_failed():
            return set()
        asked = _read(received)
        if asked == {signal.SIGHUP} and (problem := refusal()):
            report(f"the restart by SIGHUP is refused, the running workers stay: {problem}")
        elif asked:
            return asked


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Give a socket that yields the numbers of received signals; the signals have no other effect."""
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.settimeout(0)
        writing.settimeout(0)
        # multiprocessing's resource tracker inherits this; it ignores SIGINT and SIGTERM by itself. It starts here,
        # because it would unblock the signals that `fill` blocks if it started with the first worker.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        resource_tracker.ensure_running()
        descriptor = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _read(received: socket.socket) -> set[signal.Signals]:
    try:
        return {signal.Signals(number) for number in received.recv(4096) if number in SIGNALS}
    except BlockingIOError:
        return set()
