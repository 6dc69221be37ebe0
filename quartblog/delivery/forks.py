"""A fork -> one reset in the child, of locks, connections and threads that do not survive it."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol


class Resettable(Protocol):
    """An object with locks, connections or threads that a fork leaves unusable in the child."""

    def reset_in_child(self) -> None:
        """Begin anew: no other thread exists, and a thread of the parent may hold any lock."""


class Holdable(Resettable, Protocol):
    """A SQLite connection. SQLite keeps a list of its locks in memory, which must be empty in the child.

    A child that inherits an open connection believes that it holds the parent's locks. It may then meet a transaction
    that never ends, or lose what it writes when the parent closes the file.
    """

    def hold(self) -> None:
        """Before the fork: wait for the transaction under way, and keep others out. The child closes the connection."""

    def go_on(self) -> None:
        """After the fork, in the parent: allow transactions again."""


_RESET: weakref.WeakSet[Resettable] = weakref.WeakSet()
_HOLD: weakref.WeakSet[Holdable] = weakref.WeakSet()
_held: list[Holdable] = []


def reset_after_fork(thing: Resettable) -> None:
    """Reset the object in each forked child, for as long as it lives."""
    _RESET.add(thing)


def hold_during_fork(thing: Holdable) -> None:
    """As `reset_after_fork`, and call `hold` before each fork and `go_on` after it."""
    _RESET.add(thing)
    _HOLD.add(thing)


def keep_for_ever(thing: object) -> None:
    """Never finalize the object, because flushing it would write what the parent writes.

    A reference in a module is not enough, because the interpreter clears modules at its end.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _before() -> None:
    for thing in list(_HOLD):
        thing.hold()
        _held.append(thing)


def _in_parent() -> None:
    while _held:
        _held.pop().go_on()


def _in_child() -> None:
    _held.clear()
    for thing in list(_RESET):
        thing.reset_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
