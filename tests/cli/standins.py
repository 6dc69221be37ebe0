"""What stands in for the workers where a test wants to see what they are given."""

import os
import socket
from collections.abc import Callable
from functools import partial

from hypercorn.config import Config
from quart import Quart


class Workers:
    """Stands where `serving.parent.serve` is: keeps what it was given and ends as it was told to."""

    def __init__(self) -> None:
        self.config = Config()
        self.debug = False
        self.sockets: list[socket.socket] = []
        self.environ: dict[str, str] = {}
        self.fails_with: str | type[BaseException] | None = None
        """The sentence that is reported, or what the preparation is broken off with."""
        self.called = False

    def __call__(
        self, config: Config, make_app: partial[Quart], report: Callable[[str], None], refusal: Callable[[], str | None]
    ) -> bool:
        self.called = True
        self.config, self.environ = config, dict(os.environ)
        self.debug = make_app.keywords["debug"]
        opened = config.create_sockets()
        self.sockets = [*opened.secure_sockets, *opened.insecure_sockets]
        if isinstance(self.fails_with, str):
            report(self.fails_with)
        elif self.fails_with is not None:
            raise self.fails_with
        return self.fails_with is None

    @property
    def port(self) -> int:
        port: int = self.sockets[0].getsockname()[1]
        return port
