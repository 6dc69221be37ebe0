"""A dict that forgets what was not used for longest, for what threads, signal handlers and forks all look up."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

V = TypeVar("V")


class LruCache(Generic[V]):
    """Values under keys, bounded by their weights together."""

    def __init__(self, bound: int) -> None:
        """What weighs more than `bound` is never kept."""
        self._bound = bound
        self._held = 0
        self._items: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._lock = threading.RLock()
        _ALL.add(self)

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._items)

    def get(self, key: Hashable) -> V | None:
        """The value, which then counts as just used."""
        # Without the lock: every step is one of the interpreter's own.
        found = self._items.get(key)
        if found is None:
            return None
        with contextlib.suppress(KeyError):  # Forgotten by another thread this very moment.
            self._items.move_to_end(key)
        return found[0]

    def keep(self, key: Hashable, value: V, weight: int) -> None:
        """Keep the value, and forget others for it; the first value under a key stays."""
        if weight > self._bound:
            return
        with self._lock:
            if key in self._items:
                return
            self._items[key] = (value, weight)
            self._held += weight
            while self._held > self._bound:
                _, (_, gone) = self._items.popitem(last=False)
                self._held -= gone

    def values(self) -> list[V]:
        """What is kept, the longest unused first."""
        with self._lock:
            return [value for value, _ in self._items.values()]

    def after_fork(self) -> None:
        """In the child: nobody is left who could release the lock."""
        self._lock = threading.RLock()


_ALL: weakref.WeakSet[LruCache[Any]] = weakref.WeakSet()


def _renew() -> None:
    for recent in list(_ALL):
        recent.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
