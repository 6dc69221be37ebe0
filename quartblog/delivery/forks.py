"""A SQLite connection must not cross a fork: each storage closes its own before, and opens it again after."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Pausable(Protocol):
    """What is to be told of a fork."""

    def pause(self) -> None:
        """In the parent, before."""

    def resume(self, *, child: bool) -> None:
        """In both processes, after."""


_watched: weakref.WeakSet[Pausable] = weakref.WeakSet()
_paused: list[Pausable] = []


def watch(storage: Pausable) -> None:
    """Tell the storage of forks for as long as it lives."""
    _watched.add(storage)


def _before() -> None:
    for storage in list(_watched):
        storage.pause()
        _paused.append(storage)


def _after(*, child: bool) -> None:
    while _paused:
        _paused.pop().resume(child=child)


def _nothing(**_: object) -> None:
    """Where there are no forks."""


getattr(os, "register_at_fork", _nothing)(
    before=_before,
    after_in_parent=lambda: _after(child=False),
    after_in_child=lambda: _after(child=True),
)
