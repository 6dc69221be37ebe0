"""Where code lies: its path as every host would write it, and whether it is the program's own."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path

_INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple(
    os.path.normpath(path) + os.sep
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(os.__file__).parent)}
)
_OWN_PACKAGE = __name__.partition(".")[0]


@lru_cache(maxsize=10_000)
def is_own(path: str) -> bool:
    """Whether the program's author wrote it, rather than a library's."""
    if path.startswith("<frozen"):
        return False
    parts = path.replace("\\", "/").split("/")
    for folder in _INSTALLED:
        if folder in parts:
            last = len(parts) - parts[::-1].index(folder)
            return parts[last:][:1] == [_OWN_PACKAGE]
    return not path.startswith(_STANDARD)


@lru_cache(maxsize=10_000)
def relative_path(path: str) -> str:
    """The path from where Python found it; without such a place, its last three parts."""
    unified = path.replace("\\", "/")
    for folder in _INSTALLED:
        _, found, rest = unified.rpartition(f"/{folder}/")
        if found:
            return rest
    if not Path(path).is_absolute():
        return unified.removeprefix("./")
    for root in _STANDARD:
        if path.startswith(root):
            return unified[len(root) :]
    roots: set[str] = set()
    for entry in [*sys.path, "."]:
        # A program may put anything into its path, and its working directory may be gone.
        with contextlib.suppress(OSError, TypeError):
            roots.add(str(Path(entry).absolute()))
    inside = [root for root in roots if path.startswith(root.rstrip(os.sep) + os.sep) and root != os.sep]
    if inside:
        return unified[len(max(inside, key=len)) + 1 :]
    return "/".join(unified.split("/")[-3:])
