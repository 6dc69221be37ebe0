"""All that can be configured, and changed while it runs, as one value."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .capture.log_file import RotatingFile
from .deadlines import within
from .options import FileOptions, MailingOptions, MailOptions, QueueOptions, bare_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .options import OutboxOptions

ANSWER = 10.0
"""Seconds a place has to answer before it is used: more than the wait for other processes that open an outbox."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that can be configured, and changed while it runs."""

    queue: QueueOptions = field(default_factory=QueueOptions)
    file: FileOptions = field(default_factory=FileOptions)
    mail: MailOptions | None = None
    outbox: OutboxOptions | None = None
    mailing: MailingOptions = field(default_factory=MailingOptions)

    @property
    def level(self) -> int:
        """The root logger's."""
        return logging.getLevelNamesMapping()[self.file.level]

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """Addresses that are no secret to those who read the log: their own."""
        mail = (*self.mail.admins, self.mail.sender) if self.mail else ()
        readers = [address for route in self.mailing.routes for address in route.to]
        return tuple(map(bare_address, (*mail, *readers)))

    def check(self, before: Configuration) -> None:
        """Raise ValueError or OSError for what cannot work, and could before."""
        if self.mail is not None and self.mail != before.mail and self.mail.problem:
            raise ValueError(f"no mail can be sent: {self.mail.problem}")
        if self.file != before.file:
            _ask(self.file.path, self._check_file)

    def _check_file(self) -> None:
        try:
            RotatingFile.check(self.file)
        except OSError as error:
            raise OSError(f"{self.file.path} cannot be the log file: {error.strerror}") from error


def _ask(path: Path, check: Callable[[], None]) -> None:
    try:
        within(ANSWER, check)
    except TimeoutError as error:
        raise OSError(f"{path} does not answer") from error
