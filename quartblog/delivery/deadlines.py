"""Moments of the monotonic clock by which something is to be done."""

import time


def left(deadline: float) -> float:
    """Seconds until then, never below zero."""
    return max(0.0, deadline - time.monotonic())
