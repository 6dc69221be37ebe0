"""Code is the program's own or not."""

from __future__ import annotations

import logging

import pytest

from quartblog.delivery import QueueOptions
from quartblog.delivery.grouping.fingerprint import is_own, relative_path

INSTALLED = "/venv/lib/python3.11/site-packages"


def test_an_installed_copy_of_the_program_is_own_code() -> None:
    installed = f"{INSTALLED}/quartblog/posts/views.py"

    assert is_own(installed, QueueOptions().own_packages)
    assert relative_path(installed) == "quartblog/posts/views.py"


def test_libraries_and_the_standard_library_are_not_own_code() -> None:
    assert not is_own(f"{INSTALLED}/somelib/core.py", QueueOptions().own_packages)
    assert not is_own(logging.__file__)
    for made in ("<frozen importlib._bootstrap>", "<sqlalchemy generated warned() wrapper>", "<attrs generated init>"):
        assert not is_own(made)
    assert relative_path(logging.__file__) == "logging/__init__.py"


def test_code_outside_of_site_packages_is_own() -> None:
    for path in (__file__, "<stdin>", "<string>", "<ipython-input-1-0123456789ab>"):
        assert is_own(path)
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
