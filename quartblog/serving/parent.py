"""The parent of the workers: starts them, hears the signals, and sees to it that every one of them ends."""

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
    """The processes of one generation: a restart makes a new one."""

    def __init__(self, config: Config, make_app: Callable[[], Quart], sockets: Sockets) -> None:
        self._config = config
        self._sockets = sockets
        self._make_app = make_app
        # Nothing is ever written: the end of the pipe, which comes with the parent's death as well, means stop.
        self._told, self._tell = _CONTEXT.Pipe(duplex=False)
        self.running: list[SpawnProcess] = []
        self.troubles: list[str] = []
        """What went wrong with them, a sentence each."""

    def fill(self) -> None:
        """Start as many as are missing."""
        for _ in range(self._config.workers - len(self.running)):
            worker = _CONTEXT.Process(
                target=work, args=(self._config, self._sockets, self._told, self._make_app), daemon=True
            )
            # Inherited: a signal to all processes must not end one that does not ignore it yet.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                worker.start()
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self.running.append(worker)

    def any_failed(self) -> bool:
        """Whether one ended by itself other than in order, as one does that has answered `max_requests`."""
        gone = [worker for worker in self.running if worker.exitcode is not None]
        self.running = [worker for worker in self.running if worker not in gone]
        failed = [worker for worker in gone if worker.exitcode]
        self.troubles += [
            f"a worker ended by itself, {_fate(worker)}, and the others with it; its log or the system's may say why"
            for worker in failed
        ]
        return bool(failed)

    def stop(self) -> None:
        """Ask all of them to end, and kill those that are late."""
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
                self.troubles.append(f"a worker failed at its end, {_fate(worker)}")
        if late:
            one = "a worker was" if late == 1 else f"{late} workers were"
            self.troubles.append(
                f"{one} still there {bound(self._config):g} s after the stop began, and had to be killed"
            )
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
    """Serve with `config.workers` processes until SIGINT or SIGTERM; SIGHUP puts new ones in their place.

    Each of them makes an app of its own, so `make_app` has to be picklable. False where a worker ended by itself, or
    had to be killed; `report` gets the sentence that says so. `refusal` says why new workers could not start.
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
    """Keep the workers running; return the signals that are to end them, none where one has failed."""
    while True:
        # Also in the place of those that have answered `max_requests`.
        workers.fill()
        wait([received, *(worker.sentinel for worker in workers.running)])
        if workers.any_failed():
            return set()
        asked = _read(received)
        if asked == {signal.SIGHUP} and (problem := refusal()):
            report(f"the restart that SIGHUP asked for is refused, the workers stay: {problem}")
        elif asked:
            return asked


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket from which the numbers of received signals can be read, while they do nothing else."""
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.settimeout(0)
        writing.settimeout(0)
        # multiprocessing's helper inherits this: it withstands the other two by itself. Started with the first worker,
        # it would let the signals through that are blocked there.
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
