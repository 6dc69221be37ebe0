"""The blog itself, without any handler: what a failing route costs before anybody hears of it."""

import logging
from unittest.mock import patch

from quart import Quart

from quartblog import app
from quartblog.delivery import Delivery


class Silent(Delivery):
    """Is told nothing, and delivers nothing."""

    def start(self) -> None:
        """Attach a handler that ignores everything; with none at all, logging would write to stderr."""
        logging.root.addHandler(logging.NullHandler())

    def stop(self, timeout: float = 5.0) -> bool:
        """There is nothing to write."""
        return True


def create_app() -> Quart:
    """As quartblog.app.create_app."""
    with patch.object(app, "Delivery", Silent):
        return app.create_app()
