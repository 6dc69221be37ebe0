"""A SQLite connection must not cross a fork: each storage closes its own before, and opens it again after."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol


class Pausable(Protocol):
    """What is to be told of a fork."""

    def pause(self) -> None:
        """In the parent, before."""

    def resume(self, *, child: bool) -> None:
        """In both processes, after."""


class Resettable(Protocol):
    """Holds what a child must not share with its parent."""

    def reset_in_child(self) -> None:
        """Begin anew, in the child."""


_resettable: weakref.WeakSet[Resettable] = weakref.WeakSet()
_watched: weakref.WeakSet[Pausable] = weakref.WeakSet()
_paused: list[Pausable] = []


def watch(storage: Pausable) -> None:
    """Tell the storage of forks for as long as it lives."""
    _watched.add(storage)


def reset_after_fork(thing: Resettable) -> None:
    """Call `reset_in_child` in each forked child for as long as the thing lives."""
    _resettable.add(thing)


def keep_for_ever(thing: object) -> None:
    """Never finalize the object: closing it would disturb the parent, which still uses the same file.

    A reference in a module would not do, because the interpreter clears modules at its end.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _before() -> None:
    for storage in list(_watched):
        storage.pause()
        _paused.append(storage)


def _after(*, child: bool) -> None:
    if child:
        for thing in list(_resettable):
            thing.reset_in_child()
    while _paused:
        _paused.pop().resume(child=child)


def _nothing(**_: object) -> None:
    """Where there are no forks."""


getattr(os, "register_at_fork", _nothing)(
    before=_before,
    after_in_parent=lambda: _after(child=False),
    after_in_child=lambda: _after(child=True),
)
