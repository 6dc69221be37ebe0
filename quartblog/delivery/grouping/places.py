"""Code object -> whether it is the program's own, and a name for it that is the same on every host."""

from __future__ import annotations

import contextlib
import linecache
import os
import re
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

_INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple(
    os.path.normpath(path) + os.sep
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(os.__file__).parent)}
)


@lru_cache(maxsize=10_000)
def is_own(path: str, own_packages: tuple[str, ...] = ()) -> bool:
    """Return whether the file is the program's own code.

    Own code is everything outside the standard library and site-packages, and the named packages inside site-packages.
    A name may have dots: `acme.shop` is the folder `acme/shop`.
    """
    if path.startswith("<frozen"):
        return False
    parts = path.replace("\\", "/").split("/")
    for folder in _INSTALLED:
        if folder in parts:
            inside = parts[len(parts) - parts[::-1].index(folder) :]
            names = [name.split(".") for name in own_packages]
            return any(inside[: len(name)] in (name, [*name[:-1], f"{name[-1]}.py"]) for name in names)
    return not path.startswith(_STANDARD)


@lru_cache(maxsize=10_000)
def relative_path(path: str) -> str:
    """Return the path relative to the folder Python imported it from; without such a folder, its last three parts."""
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
        # A program may put any object into sys.path, and its working directory may be gone.
        with contextlib.suppress(OSError, TypeError):
            roots.add(str(Path(entry).absolute()))
    inside = [root for root in roots if path.startswith(root.rstrip(os.sep) + os.sep) and root != os.sep]
    if inside:
        return unified[len(max(inside, key=len)) + 1 :]
    return "/".join(unified.split("/")[-3:])


_COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
_LAMBDA = "<lambda>"


def numbered_name(code: CodeType) -> str:
    """Return the qualified name of the code, with a number such as `#2` if the source has others of that name above.

    Two lambdas of one function share a qualified name, and so do a property's getter and setter, or functions that a
    branch defines twice. The number counts from the beginning of the function or class around them, so no change
    above that changes it. Comments and strings count as well, which does no harm. Without a source, line and column
    replace the number for nested functions, lambdas and comprehensions.
    """
    *around, name = code.co_qualname.split(".")
    if not name.isidentifier() and name != _LAMBDA and name not in _COMPREHENSIONS:
        return code.co_qualname  # Such as a module, or a part of a template.
    columns = [column for line, _, column, _ in code.co_positions() if line == code.co_firstlineno and column]
    column = min(columns, default=None)
    lines = linecache.getlines(code.co_filename)
    if not lines:
        unclear = not name.isidentifier() or "<locals>" in around
        return f"{code.co_qualname}@{code.co_firstlineno}:{column}" if unclear else code.co_qualname
    number = _number(name, [part for part in around if part.isidentifier()], lines, code.co_firstlineno - 1, column)
    return f"{code.co_qualname}#{number}" if number > 1 else code.co_qualname


def _number(name: str, around: list[str], lines: list[str], first: int, column: int | None) -> int:
    """Count the functions of this name up to the code, which begins at this line and, in bytes, at this column."""
    above = lines[:first]
    if around:
        begins = _definition(around[-1])
        start = next((at for at in range(first - 1, -1, -1) if around[-1] in above[at] and begins(above[at])), 0)
        above = above[start:]
    if name.isidentifier():
        is_one = _definition(name)
        return 1 + sum(1 for line in above if name in line and is_one(line))
    before = lines[first].encode()[:column].decode(errors="replace") if first < len(lines) else ""
    keyword = "lambda" if name == _LAMBDA else "for"
    number = sum(len(re.findall(rf"\b{keyword}\b", line)) for line in (*above, before) if keyword in line)
    # The code of a lambda begins after its keyword, that of a comprehension before.
    return number if name == _LAMBDA else number + 1


def _definition(name: str) -> Callable[[str], object]:
    return re.compile(rf"\s*(?:async\s+)?(?:def|class)\s+{name}\b").match
