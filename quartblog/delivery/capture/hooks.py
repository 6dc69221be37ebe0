"""Exceptions that reach no logger -> the log.

Exceptions of threads and finalizers belong to no scope, so no scope names the values that a visitor sent. The log has
these exceptions without their message, see `wordless`, and stderr has only their type.
"""

from __future__ import annotations

import contextvars
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from ..own_log import describe, kind, report, reraise_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

logger = logging.getLogger("uncaught")

DEPTH = 10
"""Causes of an exception, and members of a group, that are kept."""
MOST = 1_000
"""Exceptions that are kept of all: a group may have the same group as a member many times."""


class Hooks:
    """Logs exceptions, then calls the hooks that were there before, except the interpreter's own, see `_put`.

    Several deliveries share the hooks: the first one installs them, the last one removes them.
    """

    _users: ClassVar[set[Hooks]] = set()
    _installed: ClassVar[list[tuple[Any, str, Callable[..., Any], Callable[..., Any]]]] = []

    def install(self) -> None:
        """Log from now on."""
        if not self._users:
            Hooks._installed = []
            self._put(sys, "excepthook", self._program)
            self._put(sys, "unraisablehook", self._unraisable, quiet=True)
            self._put(threading, "excepthook", self._thread, quiet=True)
        self._users.add(self)

    def remove(self) -> None:
        """Restore the earlier hooks, and log no more. A hook that other code has installed since stays."""
        self._users.discard(self)
        if not self._users:
            installed, Hooks._installed = self._installed, []
            for module, name, hook, earlier in installed:
                if getattr(module, name) is hook:
                    setattr(module, name, earlier)

    def _put(self, module: Any, name: str, log: Callable[..., None], *, quiet: bool = False) -> None:
        """With `quiet` the interpreter's own hook is not called, because it would print the exception's message."""
        earlier = getattr(module, name)
        installed = self._installed

        def hook(*what: Any) -> None:
            try:
                # Another list, once it was removed from below a hook of other code.
                if installed is Hooks._installed:
                    log(*what)
            except BaseException as error:  # noqa: BLE001  a filter or another handler may raise anything
                reraise_interrupt(error)
                report(f"an uncaught exception could not be logged: {describe(error)}")
            if quiet and earlier is getattr(module, f"__{name}__"):
                report(f"{kind(what[0].exc_value)} was not caught: see the log")
            else:
                earlier(*what)

        installed.append((module, name, hook, earlier))
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


def wordless(error: BaseException) -> BaseException:
    """Return an exception of the same type, if it can be made, with the same traceback and no message. Never raises.

    For exceptions that no code caught, outside of any scope: their message may hold what a visitor sent, and no scope
    names the values to hide. An OSError keeps the system's message, without the file's name.
    """
    try:
        return _wordless(error, DEPTH, [MOST])
    except BaseException as failure:  # noqa: BLE001  any attribute of an exception may raise anything
        reraise_interrupt(failure)
        return Exception("(an exception that cannot be examined)")


def _wordless(error: BaseException, depth: int, left: list[int]) -> BaseException:
    """`left` holds how many exceptions may still be kept, and is updated."""
    left[0] -= 1
    bare = _bare(error, depth, left)
    suppressed = error.__suppress_context__
    if depth > 0:
        for name in ("__cause__", "__context__"):
            if (behind := getattr(error, name)) is not None and left[0] > 0:
                setattr(bare, name, _wordless(behind, depth - 1, left))
    # Setting a cause suppresses the context.
    bare.__suppress_context__ = suppressed
    return bare.with_traceback(error.__traceback__)


def _bare(error: BaseException, depth: int, left: list[int]) -> BaseException:
    if isinstance(error, BaseExceptionGroup):
        first = error.exceptions[:DEPTH] if depth > 0 else ()
        members = [_wordless(member, depth - 1, left) for member in first if left[0] > 0]
        return BaseExceptionGroup("", members or [Exception()])
    kind = type(error)
    try:
        if isinstance(error, OSError) and isinstance(error.errno, int) and kind is type(OSError(error.errno, "")):
            return kind(error.errno, os.strerror(error.errno))
        bare = kind.__new__(kind)
        bare.args = ()
        # Without arguments, some classes have a message all the same, and some raise.
        if not str(bare) and bare.with_traceback(None) is bare:
            return bare
    except BaseException as failure:  # noqa: BLE001  a constructor may raise anything
        reraise_interrupt(failure)
    return Exception(kind.__qualname__)
