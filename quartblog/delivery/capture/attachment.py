"""Handler -> the root logger, and back to it whenever code configures logging anew while the program runs.

`logging.config`, `basicConfig(force=True)`, `logging.disable()` or one line of foreign code can hide records from the
handler. Log, groups and mail would then miss every failure. So the heartbeat looks once a second, undoes such a
change, and logs a WARNING that names it. Until then the delivery is not healthy.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from ..own_log import own_logger, report
from ..text import counted
from .handler import BoundedQueueHandler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

logger = own_logger()

NAMED = 5
"""Loggers that the warning names. It counts the others."""
QUIET = 60.0
"""Seconds before the same warning is logged again. Code may hide the handler once a second."""


class Attachment:
    """One handler of the root logger, and the settings that let records reach it.

    The root logger has the lowest level of all deliveries that run, and once none runs, its level of before the first.

    It does not change the levels of other loggers, because an operator may mute them by these. It does not change
    loggers that did not propagate when the delivery started, or that were made later.
    """

    # Shared, because a process has one root logger.
    _running: ClassVar[list[Attachment]] = []
    _level_before: ClassVar[int] = logging.NOTSET
    # Held during a repair, because the delivery may stop meanwhile. A signal handler may stop it during any change.
    _changing: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, handler: logging.Handler, level: int, adopted: Iterable[logging.Handler] = ()) -> None:
        """`attach` removes the `adopted` handlers from the root logger, `detach` puts them back."""
        self._handler = handler
        self._adopted = tuple(adopted)
        self.level = level
        self._disabled: set[logging.Logger] = set()
        self._known: set[str] = set()
        self._silent: set[str] = set()
        self._reported_at: dict[str, float] = {}

    def attach(self) -> None:
        """Take every record from now on."""
        with self._changing:
            if not self._running:
                Attachment._level_before = logging.root.level
            self._disabled = {one for one in _loggers() if one.disabled}
            # With placeholders: `a.b` makes one for `a`, where code may later put a logger that does not propagate.
            self._known = set(logging.root.manager.loggerDict)
            self._silent = {one.name for one in _loggers() if not one.propagate}
            with self._levels():
                self._running.append(self)
            # A new list in one step: another thread may be calling the handlers of the old list.
            logging.root.handlers = [*self._handlers_of_others(), self._handler]

    def inherit(self, before: Attachment) -> None:
        """In a forked child: replace the parent's attachment by this one."""
        # A thread of the parent may have held it.
        Attachment._changing = threading.RLock()
        self._disabled, self._known, self._silent = before._disabled, before._known, before._silent
        _replace(self._running, before, self)
        _replace(logging.root.handlers, before._handler, self._handler)

    def detach(self) -> None:
        """Take no more records, and restore the root logger."""
        with self._changing:
            with self._levels(), contextlib.suppress(ValueError):
                self._running.remove(self)
            logging.root.handlers = [*self._adopted, *self._handlers_of_others()]

    def reconfigure(self, level: int) -> None:
        """Take records of this level."""
        with self._changing, self._levels():
            self.level = level

    @classmethod
    @contextlib.contextmanager
    def _levels(cls) -> Iterator[None]:
        """Let the root logger follow the levels of this block. A level that other code has given it meanwhile stays."""
        before = cls._lowest()
        yield
        if logging.root.level == before:
            logging.root.setLevel(cls._lowest())

    @classmethod
    def _lowest(cls) -> int:
        return min((each.level for each in cls._running), default=cls._level_before)

    @property
    def intact(self) -> bool:
        """Whether nothing hides records from the handler; True before the start and after the end."""
        return self not in self._running or next(self._faults(), None) is None

    def repair(self) -> None:
        """Undo every change that hides records, and log a warning."""
        if self.intact:
            return
        with self._changing:
            if self not in self._running:
                return
            faults = list(self._faults())
            self._undo()
        now = time.monotonic()
        news = [fault for fault in faults if now - self._reported_at.get(fault, -QUIET) >= QUIET]
        if news:
            self._reported_at.update(dict.fromkeys(news, now))
            text = (
                f"Logging was configured anew and hid records from this log: {'; '.join(news)}; the delivery undid it"
            )
            report(text)
            logger.warning("%s", text)

    def _faults(self) -> Iterator[str]:
        if self._handler not in logging.root.handlers:
            yield "the handler of the delivery was removed from the root logger"
        if self._handler.level > self.level:
            yield "the handler of the delivery got another level"
        if logging.root.level > self.level:
            yield f"the root logger's level became {logging.getLevelName(logging.root.level)}"
        if logging.root.manager.disable >= self.level:
            yield f"logging.disable({logging.getLevelName(logging.root.manager.disable)}) was called"
        if disabled := self._newly_disabled():
            yield _named(disabled, "was disabled", "were disabled")
        if silent := self._no_longer_propagating():
            yield _named(silent, "no longer passed its records on", "no longer passed their records on")

    def _undo(self) -> None:
        for one in self._newly_disabled():
            one.disabled = False
        for one in self._no_longer_propagating():
            one.propagate = True
        if logging.root.manager.disable >= self.level:
            logging.disable(logging.NOTSET)
        if logging.root.level > self.level:
            logging.root.setLevel(self._lowest())
        if self._handler.level > self.level:
            self._handler.setLevel(logging.NOTSET)
        if self._handler not in logging.root.handlers:
            logging.root.addHandler(self._handler)

    def _handlers_of_others(self) -> list[logging.Handler]:
        ours = {self._handler, *self._adopted}
        return [handler for handler in logging.root.handlers if handler not in ours]

    def _newly_disabled(self) -> list[logging.Logger]:
        return [one for one in _loggers() if one.disabled and one not in self._disabled]

    def _no_longer_propagating(self) -> list[logging.Logger]:
        heard = self._known - self._silent
        return [one for one in _loggers() if not one.propagate and one.name in heard]


def handlers_to_adopt() -> tuple[logging.Handler, ...]:
    """Return the root logger's handlers, without that of another delivery."""
    return tuple(handler for handler in logging.root.handlers if not isinstance(handler, BoundedQueueHandler))


def _replace(things: list[Any], before: object, by: object) -> None:
    if before in things:
        things[things.index(before)] = by


def _loggers() -> list[logging.Logger]:
    # A copy made in one step: other threads make loggers meanwhile.
    known = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(one for one in known if isinstance(one, logging.Logger))]


def _named(loggers: list[logging.Logger], was: str, were: str) -> str:
    names = ", ".join(sorted(one.name for one in loggers)[:NAMED])
    more = f" and {counted(len(loggers) - NAMED, 'other')}" if len(loggers) > NAMED else ""
    return f"{names}{more} {was if len(loggers) == 1 else were}"
