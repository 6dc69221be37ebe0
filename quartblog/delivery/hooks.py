"""Exceptions that reach no logger -> the log.

Exceptions of threads and finalizers belong to no scope, so no scope names the values that a visitor sent. The log has
these exceptions without their message, and stderr has only their type.
"""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

from .interrupts import reraise_interrupt
from .own_log import describe, kind, report
from .text.wordless import wordless

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

logger = logging.getLogger("uncaught")


class Hooks:
    """Logs exceptions, then calls the hooks that were there before, except the interpreter's own, see `_put`."""

    def __init__(self) -> None:
        """`install` puts the hooks in place."""
        self._active = False
        self._before: list[tuple[Any, str, Callable[..., Any], Callable[..., Any]]] = []

    def install(self) -> None:
        """Log from now on."""
        self._active = True
        self._put(sys, "excepthook", self._program)
        self._put(sys, "unraisablehook", self._unraisable, quiet=True)
        self._put(threading, "excepthook", self._thread, quiet=True)

    def remove(self) -> None:
        """Restore the earlier hooks, and log no more. A hook that other code has installed since stays."""
        self._active = False
        for module, name, hook, earlier in self._before:
            if getattr(module, name) is hook:
                setattr(module, name, earlier)
        self._before.clear()

    def _put(self, module: Any, name: str, log: Callable[..., None], *, quiet: bool = False) -> None:
        """With `quiet` the interpreter's own hook is not called, because it would print the exception's message."""
        earlier = getattr(module, name)

        def hook(*what: Any) -> None:
            try:
                if self._active:
                    log(*what)
            except BaseException as error:  # noqa: BLE001  a filter or another handler may raise anything
                reraise_interrupt(error)
                report(f"an uncaught exception could not be logged: {describe(error)}")
            if quiet and earlier is getattr(module, f"__{name}__"):
                report(f"{kind(what[0].exc_value)} was not caught: see the log")
            else:
                earlier(*what)

        self._before.append((module, name, hook, earlier))
        setattr(module, name, hook)

    @staticmethod
    def _program(what: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(what, Exception):
            logger.critical("An exception ends the program", exc_info=(what, error, trace))

    @staticmethod
    def _unraisable(what: sys.UnraisableHookArgs) -> None:
        if (error := what.exc_value) is not None:
            words = what.err_msg or "Exception ignored in"
            # In an empty context, because a finalizer runs inside of any scope that the thread happens to be in.
            contextvars.Context().run(logger.error, "%s %s", words, kind(what.object), exc_info=wordless(error))

    @staticmethod
    def _thread(what: threading.ExceptHookArgs) -> None:
        if (error := what.exc_value) is not None and not issubclass(what.exc_type, SystemExit):
            name = what.thread.name if what.thread is not None else "(gone)"
            logger.error("An exception ended the thread %s", name, exc_info=wordless(error))
