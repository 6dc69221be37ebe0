"""What exists between a delivery's start and its stop: the threads, and their places among logging's handlers."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from .capture.attachment import Attachment
from .capture.intake import Intake
from .capture.outbox_sink import StoreSink
from .deadlines import left
from .hooks import Hooks
from .mail.posting import Posting
from .options import SAMPLES
from .own_log import own_logger
from .text.formatting import zone

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable
    from email.message import EmailMessage
    from pathlib import Path

    from .configuration import Configuration

logger = own_logger()

UNDER_WAY = 5.0
"""Seconds that the end of a child, or the change to another outbox, waits for what is under way."""


class Running:
    """An intake and a posting that work together."""

    def __init__(self, configuration: Configuration, extra_sinks: Iterable[logging.Handler]) -> None:
        """Nothing runs yet."""
        self.posting = self._posting(configuration)
        self._errors = StoreSink(self.posting.outbox, _samples(configuration))
        self.intake = Intake(
            configuration.queue, configuration.file, configuration.own_addresses, self._errors, extra_sinks
        )
        self._hooks = Hooks()
        self._file = configuration.file
        self._zone = ""
        self._attachment = Attachment(self.intake.handler, configuration.level)
        self._beginning = threading.RLock()
        self._begun = False
        self._ended = False

    def attach(self) -> None:
        """Take every record from now on."""
        self._attachment.attach()
        self._hooks.install()

    def begin(self) -> None:
        """Start the threads, once."""
        with self._beginning:
            if self._begun:
                return
            self._begun = True
            self.intake.start()
            self.posting.start()

    def take_over(self, before: Running) -> None:
        """In a forked child: stand where the parent's stood, and begin with the first record."""
        before.intake.abandon()
        self._hooks = before._hooks
        self.intake.handler.on_first(self._begin_in_child)
        self._attachment.inherit(before._attachment)

    def post(self, message: EmailMessage, recipients: Iterable[str]) -> int:
        """As Delivery.post."""
        self.begin()
        to = [*recipients]
        # One that is being left takes nothing; by then the next one is there.
        while (number := self.posting.post(message, to)) is None:
            pass
        return number

    def reconfigure(self, before: Configuration, new: Configuration) -> None:
        """Change what differs, unless it has ended while the caller waited for a disk."""
        if self._ended:
            return
        if _path(new) != _path(before):
            self._change_outbox(new)
        else:
            if new.outbox is not None and new.outbox != before.outbox:
                self.posting.outbox.reconfigure(new.outbox)
                self._errors.change(self.posting.outbox, _samples(new))
            self.posting.reconfigure(new.mail, new.mailing)
        self.intake.reconfigure(new.queue, new.file if new.file != before.file else None, new.own_addresses)
        self._attachment.reconfigure(new.level)
        self._file = new.file
        self.tell_zone()

    def tell_zone(self) -> None:
        """Log what the times in the file are, where that was not said yet or has changed; those of JSON say it."""
        now = zone(utc=self._file.utc) if self._file.format == "text" else ""
        if now and now != self._zone:
            self._zone = now
            logger.info("Times in this log are %s", now)

    def drain(self, timeout: float, *, mail: bool) -> bool:
        """As Delivery.drain."""
        deadline = time.monotonic() + timeout
        done = self.intake.drain(timeout)
        if mail:
            done = self.posting.mailer.drain(left(deadline)) and done
            # A failed mail has logged a line by now: that is to be handled as well.
            done = self.intake.drain(left(deadline)) and done
        return done

    def end(self, timeout: float, *, mail: bool) -> bool:
        """As Delivery.stop; without `mail` the mail server is never waited for."""
        deadline = time.monotonic() + timeout
        self._ended = True
        # The mailer first: what it could not send is a record, and records are still accepted.
        done = self.intake.drain(timeout)
        self.posting.stop(deadline, mail=mail)
        self._hooks.remove()
        self._attachment.detach()
        done = self.intake.stop(left(deadline)) and done
        if not self.intake.stores:
            self.posting.outbox.close()
        return done

    def figures(self) -> dict[str, Any]:
        """As Delivery.figures."""
        return self.intake.figures() | self.posting.figures()

    @property
    def problem(self) -> str | None:
        """As Delivery.problem."""
        if not (self.intake.listener.alive and self.posting.healthy):
            return "a thread has ended"
        if not self.intake.healthy:
            return "log file cannot be written"
        return None if self._attachment.whole else "logging was configured anew"

    def _at_beat(self) -> dict[str, Any]:
        self._attachment.mend()
        self.intake.try_file_again()
        self.tell_zone()
        return self.figures()

    def _posting(self, configuration: Configuration) -> Posting:
        return Posting(configuration.outbox, configuration.mail, configuration.mailing, self._at_beat)

    def _change_outbox(self, new: Configuration) -> None:
        before, self.posting = self.posting, self._posting(new)
        self._errors.change(self.posting.outbox, _samples(new))
        self.posting.take_over(before, UNDER_WAY)
        if not self._ended:
            self.posting.start()

    def _begin_in_child(self) -> None:
        self.begin()
        # A child of multiprocessing ends without running what atexit knows.
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            util.Finalize(None, self.drain, kwargs={"timeout": UNDER_WAY, "mail": False}, exitpriority=0)


def _samples(configuration: Configuration) -> int:
    return configuration.outbox.samples if configuration.outbox else SAMPLES


def _path(configuration: Configuration) -> Path | None:
    return configuration.outbox.path if configuration.outbox else None
