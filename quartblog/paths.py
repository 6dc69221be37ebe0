"""Name of a file outside of the Python package -> its path, in a checkout or an installation."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """Return the path of `alembic` or `hypercorn.toml`: in an installed package, or at the top of a checkout."""
    installed = _PACKAGE / name
    return installed if installed.exists() else _PACKAGE.parent / name
