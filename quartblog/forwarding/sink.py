"""What both kinds of sinks share: which records they take, one client for each process, and silence while they send."""

from __future__ import annotations

import logging
import os
import threading
from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from quartblog.delivery import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 5
"""Seconds that the server may take for one record. Meanwhile further records wait."""

LIBRARIES = (
    "opentelemetry.attributes",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "sentry_sdk.errors",
    "urllib3.connectionpool",
    "urllib3.util.retry",
)
"""The loggers of the libraries that send."""

Client = TypeVar("Client")


class NotTaken(Exception):
    """The server did not take a record. The message has no part of the record, of its address or of a key."""


class ForwardingSink(logging.Handler, Generic[Client]):
    """Sends each error record, one after another, and raises NotTaken for one that is lost.

    For `extra_sinks` of the delivery, which gives it a thread, finished records and a place in the statistics.
    """

    frames: ClassVar[bool] = False
    """Records need not keep their exceptions, whose frames keep all variables alive."""

    def __init__(self) -> None:
        """Take records of the level ERROR and above."""
        super().__init__(logging.ERROR)
        self._client: tuple[int, Client] | None = None
        _silence_libraries()

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class, without its lock: one thread sends, and the end of the program must not wait for it."""
        # From Python 3.12 on, a filter may give another record.
        wanted: object = self.filter(record)
        if wanted:
            self.emit(wanted if isinstance(wanted, logging.LogRecord) else record)
        return bool(wanted)

    @abstractmethod
    def connect(self) -> Client:
        """Return a client of this process. It opens no connection yet."""

    @abstractmethod
    def disconnect(self, client: Client) -> None:
        """Close the client's connections."""

    @abstractmethod
    def send(self, client: Client, event: Event, record: logging.LogRecord) -> None:
        """Send one record and wait for the answer. Raise NotTaken."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record. Unlike other handlers it raises, so that the delivery counts what is lost."""
        process = os.getpid()
        if self._client is None or self._client[0] != process:
            # A forked child must not write into its parent's connection.
            self._client = (process, self.connect())
        with _silently():
            self.send(self._client[1], Event.from_record(record), record)

    def close(self) -> None:
        """Close the connections; a later record opens others."""
        client, self._client = self._client, None
        if client is not None and client[0] == os.getpid():
            with _silently():
                self.disconnect(client[1])
        super().close()


_this_thread = threading.local()


def _is_wanted(_record: logging.LogRecord) -> bool:
    return not getattr(_this_thread, "sends", False)


def _silence_libraries() -> None:
    """Let no library log what happens while a sink sends.

    A server that is away would otherwise make several lines, a group and a mail for each record that it does not take.
    The sink reports it instead. Where the program itself uses these libraries, they log as before.
    """
    for name in LIBRARIES:
        # Adding the same filter twice changes nothing.
        logging.getLogger(name).addFilter(_is_wanted)


@contextmanager
def _silently() -> Iterator[None]:
    _this_thread.sends = True
    try:
        yield
    finally:
        _this_thread.sends = False
