"""What stands in for Hypercorn where a test wants to see what it is given."""

import os
import signal
import socket

from hypercorn.config import Config


class Hypercorn:
    """Stands where Hypercorn's run() is: keeps what it was given and ends as it was told to.

    It takes the signals over and returns 0 as the real one does, whether it was asked to end or lost a worker.
    """

    def __init__(self) -> None:
        self.config = Config()
        self.sockets: list[socket.socket] = []
        self.environ: dict[str, str] = {}
        self.ends_with: signal.Signals | type[BaseException] | None = signal.SIGINT
        self.called = False

    def __call__(self, config: Config) -> int:
        self.called = True
        self.config, self.environ = config, dict(os.environ)
        self.sockets = config.create_sockets().insecure_sockets
        if isinstance(self.ends_with, signal.Signals):
            before = signal.signal(self.ends_with, lambda *_: None)
            signal.raise_signal(self.ends_with)
            signal.signal(self.ends_with, before)
        elif self.ends_with is not None:
            raise self.ends_with
        return 0

    @property
    def port(self) -> int:
        port: int = self.sockets[0].getsockname()[1]
        return port
