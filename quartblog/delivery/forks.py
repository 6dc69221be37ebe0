"""A fork -> one reset in the child, for locks, connections and threads that do not survive it."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol


class Resettable(Protocol):
    """An object with locks, connections or threads that a fork leaves unusable in the child."""

    def reset_in_child(self) -> None:
        """Begin anew: no other thread exists, and every lock may be held by one that is gone."""


class Holdable(Resettable, Protocol):
    """A SQLite connection. SQLite keeps its view of all locks in memory, which must not show any in the child.

    A child that inherits an open connection believes that it holds the parent's locks. It may then meet a transaction
    that never ends, or lose what it writes when the parent closes the file.
    """

    def hold(self) -> None:
        """Before the fork: end the transaction under way and close the connection."""

    def go_on(self) -> None:
        """After it, in the parent."""


_RESET: weakref.WeakSet[Resettable] = weakref.WeakSet()
_HOLD: weakref.WeakSet[Holdable] = weakref.WeakSet()
_held: list[Holdable] = []


def reset_after_fork(thing: Resettable) -> None:
    """Reset the object in each forked child, for as long as it lives."""
    _RESET.add(thing)


def hold_during_fork(thing: Holdable) -> None:
    """As `reset_after_fork`, and hold the object still meanwhile."""
    _RESET.add(thing)
    _HOLD.add(thing)


def keep_for_ever(thing: object) -> None:
    """Never finalize the object: flushing it would write what the parent writes.

    A reference in a module would not do, because the interpreter clears modules at its end.
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
