"""Code is the program's own or not, and two pieces of it have two names."""

from __future__ import annotations

import linecache
import logging
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import QueueOptions
from quartblog.delivery.grouping.places import is_own, numbered_name, relative_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import CodeType

INSTALLED = "/venv/lib/python3.11/site-packages"


def codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a module and all that is inside of it, in the order of the source."""
    for constant in code.co_consts:
        if hasattr(constant, "co_qualname"):
            yield constant
            yield from codes(constant)


def names(path: Path, source: str) -> list[str]:
    path.write_text(source)
    linecache.checkcache(str(path))
    return [numbered_name(code) for code in codes(compile(source, str(path), "exec"))]


def test_an_installed_copy_of_the_program_is_own_code() -> None:
    installed = f"{INSTALLED}/quartblog/posts/views.py"

    assert is_own(installed, QueueOptions().own_packages)
    assert relative_path(installed) == "quartblog/posts/views.py"


def test_libraries_and_the_standard_library_are_not_own_code() -> None:
    assert not is_own(f"{INSTALLED}/somelib/core.py", QueueOptions().own_packages)
    assert not is_own(logging.__file__)
    assert not is_own("<frozen importlib._bootstrap>")
    assert relative_path(logging.__file__) == "logging/__init__.py"


def test_code_outside_of_site_packages_is_own() -> None:
    assert is_own(__file__)
    assert relative_path(__file__) == "tests/delivery/test_places.py"


@pytest.mark.parametrize(
    ("path", "packages", "own"),
    [
        ("shop/views.py", ("shop",), True),
        ("shop.py", ("shop",), True),
        ("shopping/views.py", ("shop",), False),
        ("acme/shop/views.py", ("acme.shop",), True),
        ("acme/shop.py", ("acme.shop",), True),
        ("acme/stock/views.py", ("acme.shop", "shop"), False),
        ("shop/views.py", (), False),
    ],
)
def test_an_option_names_the_installed_packages_that_are_own(path: str, packages: tuple[str, ...], own: bool) -> None:  # noqa: FBT001
    assert is_own(f"{INSTALLED}/{path}", packages) is own
    assert is_own(f"/usr/lib/python3/dist-packages/{path}", packages) is own


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    return lambda: 1 / 0, lambda: 1 / 0\n",
        "def f():\n    return [\n        lambda: 1 / 0,\n        lambda: 1 / 0,\n    ]\n",
        "pair = lambda: 1 / 0, lambda: 1 / 0\n",
        "pair = lambda: (\n    1 / 0), lambda: 1 / 0\n",
        "def f(x):\n    return (1 / i for i in x), (1 / i for i in x)\n",
        "def f(x):\n    return [\n        (1 / i for i in x),\n        (1 / i for i in x),\n    ]\n",
        "def f(x):\n    if x:\n        def g(): 1 / 0\n    else:\n        def g(): 1 / 0\n",
        "if x:\n    def g(): 1 / 0\nelse:\n    async def g(): 1 / 0\n",
        "class A:\n    @property\n    def x(self): 1 / 0\n    @x.setter\n    def x(self, value): 1 / 0\n",
        "@show.register\ndef _(x: int): 1 / 0\n\n@show.register\ndef _(x: str): 1 / 0\n",
        "é = '微博', lambda: 1 / 0, lambda: 1 / 0\n",
    ],
)
def test_two_of_one_name_get_two_names(tmp_path: Path, source: str) -> None:
    found = names(tmp_path / "one.py", source)

    assert len(set(found)) == len(found)
    assert any(name.endswith("#2") for name in found)
    assert names(tmp_path / "one.py", f"import json\n\nx = 1\n\n\n{source}") == found


def test_the_only_one_of_a_name_has_no_number(tmp_path: Path) -> None:
    source = """
class A:
    def show(self):
        return lambda: 1 / 0

class B:
    async def show(self):
        def inner():
            return (x for x in ())
        return inner

def show():
    pass
"""
    assert not any("#" in name or "@" in name for name in names(tmp_path / "one.py", source)[:-1])


def test_nested_functions_get_two_names_without_source_too() -> None:
    source = (
        "def f(x):\n    if x:\n        def g(): return lambda: 1 / 0, lambda: 1 / 0\n    else:\n        def g(): 1\n"
    )
    found = [numbered_name(code) for code in codes(compile(source, "/nowhere/missing.py", "exec"))]

    assert len(set(found)) == len(found)
    assert found[0] == "f"
