"""A fork -> one reset in the child, of locks, connections and threads that do not survive it."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Protocol, runtime_checkable


class Resettable(Protocol):
    """An object with locks, connections or threads that a fork leaves unusable in the child."""

    def reset_in_child(self) -> None:
        """Begin anew: no other thread exists, and a thread of the parent may hold any lock."""


@runtime_checkable
class Holdable(Resettable, Protocol):
    """A SQLite connection. SQLite keeps a list of its locks in memory, which must be empty in the child.

    A child that inherits an open connection believes that it holds the parent's locks. It may then meet a transaction
    that never ends, or lose what it writes when the parent closes the file.
    """

    def hold(self) -> None:
        """Before the fork: wait for the transaction under way, and keep others out. The child closes the connection."""

    def go_on(self) -> None:
        """After the fork, in the parent: allow transactions again."""


class _Forks:
    """The forks of this process, one at a time: two threads may fork at once."""

    def __init__(self) -> None:
        self.things: weakref.WeakSet[Resettable] = weakref.WeakSet()
        # A signal handler may fork as well.
        self._forking = threading.RLock()
        self._held: list[Holdable] = []

    def before(self) -> None:
        self._forking.acquire()
        for thing in list(self.things):
            if isinstance(thing, Holdable):
                thing.hold()
                self._held.append(thing)

    def in_parent(self) -> None:
        while self._held:
            self._held.pop().go_on()
        self._forking.release()

    def in_child(self) -> None:
        self._held.clear()
        self._forking = threading.RLock()
        for thing in list(self.things):
            thing.reset_in_child()


_FORKS = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_FORKS.before, after_in_parent=_FORKS.in_parent, after_in_child=_FORKS.in_child)


def reset_after_fork(thing: Resettable) -> None:
    """Reset the object in each forked child, for as long as it lives. Hold it during the fork if it can be held."""
    _FORKS.things.add(thing)


def keep_for_ever(thing: object) -> None:
    """Never finalize the object, because flushing it would write what the parent writes.

    A reference in a module is not enough, because the interpreter clears modules at its end.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
