"""Key -> value: a small LRU cache shared by threads, signal handlers and forks."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from ..forks import reset_after_fork

if TYPE_CHECKING:
    from collections.abc import Hashable

V = TypeVar("V")


class LruCache(Generic[V]):
    """Each value has a weight; the sum of all weights is bounded."""

    def __init__(self, bound: int) -> None:
        """`bound` is the largest sum of weights. A heavier value is not kept at all."""
        self._bound = bound
        self._weight = 0
        self._items: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._lock = threading.RLock()
        reset_after_fork(self)

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._items)

    def get(self, key: Hashable) -> V | None:
        """Return the value and mark it as just used."""
        # Without the lock: the interpreter runs each of these steps as a whole.
        found = self._items.get(key)
        if found is None:
            return None
        with contextlib.suppress(KeyError):  # Another thread has just evicted it.
            self._items.move_to_end(key)
        return found[0]

    def keep(self, key: Hashable, value: V, weight: int) -> None:
        """Add the value and evict the least recently used ones for it. A key that exists keeps its value."""
        if weight > self._bound:
            return
        with self._lock:
            if key in self._items:
                return
            self._items[key] = (value, weight)
            self._weight += weight
            while self._weight > self._bound:
                _, (_, weight) = self._items.popitem(last=False)
                self._weight -= weight

    def reset_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may have held, in the middle of `keep`."""
        self._lock = threading.RLock()
        self._weight = sum(weight for _, weight in self._items.values())
