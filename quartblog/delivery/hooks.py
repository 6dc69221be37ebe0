"""Exceptions that reach no logger -> the log.

Exceptions of threads and finalizers belong to no scope, so nothing says which of their words a visitor sent. The log
has them without their words, and stderr has their type alone.
"""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

from .interrupts import reraise_interrupt
from .own_log import describe, report
from .text.wordless import wordless

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

logger = logging.getLogger("uncaught")


class Hooks:
    """Puts itself before the hooks that are there. Each is still called, but for the interpreter's own, see `_put`."""

    def __init__(self) -> None:
        """Nothing is hooked yet."""
        self._active = False
        self._before: list[tuple[Any, str, Callable[..., Any], Callable[..., Any]]] = []

    def install(self) -> None:
        """Log from now on."""
        self._active = True
        self._put(sys, "excepthook", self._program)
        self._put(sys, "unraisablehook", self._unraisable, quiet=True)
        self._put(threading, "excepthook", self._thread, quiet=True)

    def remove(self) -> None:
        """Leave everything as it was; a hook that somebody has put before ours meanwhile stays, and ours is silent."""
        self._active = False
        for module, name, ours, theirs in self._before:
            if getattr(module, name) is ours:
                setattr(module, name, theirs)
        self._before.clear()

    def _put(self, module: Any, name: str, log: Callable[..., None], *, quiet: bool = False) -> None:
        """With `quiet` the interpreter's own hook is not called: it would print what the exception says."""
        theirs = getattr(module, name)

        def hook(*what: Any) -> None:
            try:
                if self._active:
                    log(*what)
            except BaseException as error:  # noqa: BLE001  a filter, or somebody's handler, may raise anything
                reraise_interrupt(error)
                report(f"an exception that nobody caught could not be logged: {describe(error)}")
            if quiet and theirs is getattr(module, f"__{name}__"):
                report(f"{type(what[0].exc_value).__name__} that nobody caught: see the log")
            else:
                theirs(*what)

        self._before.append((module, name, hook, theirs))
        setattr(module, name, hook)

    @staticmethod
    def _program(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            logger.critical("The program ends by an exception", exc_info=(kind, error, trace))

    @staticmethod
    def _unraisable(what: sys.UnraisableHookArgs) -> None:
        if (error := what.exc_value) is not None:
            words = what.err_msg or "Exception ignored in"
            # In no context: a finalizer runs inside whatever piece of work the thread does just then.
            contextvars.Context().run(
                logger.error, "%s %s", words, type(what.object).__name__, exc_info=wordless(error)
            )

    @staticmethod
    def _thread(what: threading.ExceptHookArgs) -> None:
        if (error := what.exc_value) is not None and not issubclass(what.exc_type, SystemExit):
            name = what.thread.name if what.thread is not None else "a thread that is gone"
            logger.error("The thread %s ended by an exception", name, exc_info=wordless(error))
