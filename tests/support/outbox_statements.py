"""Pages -> the statements that they send to an outbox, without those of the delivery's own threads."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def noted(path: Path) -> Iterator[list[str]]:
    """Note what pages send to the outbox at `path`, on each connection that is opened meanwhile."""
    seen: list[str] = []
    connect = sqlite3.connect

    def note(statement: str) -> None:
        # Pages wait for the outbox in threads of the event loop. What a trigger sends is a comment.
        if threading.current_thread().name.startswith("asyncio_") and not statement.startswith("--"):
            seen.append(statement)

    def traced(database: Any, *arguments: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(database, *arguments, **more)
        if str(database) == str(path):
            connection.set_trace_callback(note)
        return connection

    with mock.patch.object(sqlite3, "connect", traced):
        yield seen
