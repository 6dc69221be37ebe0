"""Where the files that belong to the program, but not to the package, are."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """`alembic` or `hypercorn.toml`: inside an installed package, at the top level of a checkout."""
    installed = _PACKAGE / name
    return installed if installed.exists() else _PACKAGE.parent / name
