"""A small LRU cache: its entries, and the ones it drops."""

from __future__ import annotations

import os
import threading

import pytest

from quartblog.delivery.text.cache import LruCache


def test_the_least_recently_used_values_leave_a_full_cache() -> None:
    cache: LruCache[str] = LruCache(6)
    for key in ("a", "b", "c"):
        cache.keep(key, key.upper(), 2)
    cache.get("a")
    cache.keep("d", "D", 4)

    assert [cache.get(key) for key in "abcd"] == ["A", None, None, "D"]
    assert len(cache) == 2


def test_a_value_heavier_than_the_bound_is_not_kept_and_evicts_nothing() -> None:
    cache: LruCache[str] = LruCache(6)
    cache.keep("a", "A", 6)
    cache.keep("b", "B", 7)

    assert [cache.get(key) for key in "ab"] == ["A", None]


def test_a_key_keeps_its_first_value() -> None:
    cache: LruCache[str] = LruCache(6)
    cache.keep("a", "first", 3)
    cache.keep("a", "second", 3)
    cache.keep("b", "B", 3)

    assert [cache.get(key) for key in "ab"] == ["first", "B"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_can_use_a_cache_that_another_thread_was_changing() -> None:
    cache: LruCache[object] = LruCache(100)
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            cache.keep(number, object(), 1)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(50):
            if (child := os.fork()) == 0:
                cache.keep("the child's", object(), 1)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
