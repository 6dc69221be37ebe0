"""Exceptions to log, with as many frames as a web application's have."""

from __future__ import annotations

FRAMES = 30


def failure(frames: int = FRAMES, seed: int = 1) -> BaseException:
    """A new exception whose traceback has so many frames."""
    try:
        _walk(frames - 1, seed)
    except ZeroDivisionError as error:
        return error
    raise AssertionError("dividing by zero has worked")


def _walk(frames: int, seed: int) -> float:
    # Alternating functions: no line repeats often enough to be folded in the traceback.
    if frames > 1:
        return _step(frames - 1, seed) * 2
    return _fail(seed)


def _step(frames: int, seed: int) -> float:
    if frames > 1:
        return _stride(frames - 1, seed) + 1
    return _fail(seed)


def _stride(frames: int, seed: int) -> float:
    if frames > 1:
        return _walk(frames - 1, seed) - len(str(frames))
    return _fail(seed)


def _fail(seed: int) -> float:
    return seed / (seed - seed)
