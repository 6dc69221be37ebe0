"""The server process that started this one -> an id that all workers of one start share, also with a forked child."""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def this_run() -> str:
    """Return the id of this process's parent. Sums of counts hold within one run: each process begins at zero."""
    parent = os.getppid()
    try:
        status = Path(f"/proc/{parent}/stat").read_text("utf-8", "replace")
    except OSError:  # Not Linux. The number alone may come back, but rarely while its workers are still listed.
        return str(parent)
    # In a container the parent often has the same number at each start, so the moment of its start belongs to the id.
    # The name of the program comes before, in parentheses, and may contain any character.
    return f"{parent}:{status.rpartition(')')[2].split()[19]}"
