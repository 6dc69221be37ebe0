"""Settings -> warnings about files that other users of this machine can read but should not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quartblog.settings.load import Loaded
    from quartblog.settings.sections import Settings

# Without the group bits: services often read a settings file owned by root through the site's group.
_OTHERS = 0o007


def warnings(loaded: Loaded) -> Iterator[str]:
    """Yield a sentence for a readable settings file that holds a secret, and for a readable SQLite file of the blog."""
    if loaded.file is not None and loaded.file_holds_secrets and _is_open(loaded.file):
        yield f"{loaded.file}: holds a secret, and other users of this machine can read it: chmod o-rwx {loaded.file}"
    for path in _database_files(loaded.settings):
        if _is_open(path):
            yield f"{path}: holds addresses, and other users of this machine can read it: chmod o-rwx {path}"


def _database_files(settings: Settings) -> list[Path]:
    """Return SQLite's database file and its write-ahead log."""
    url = make_url(settings.database.url.get_secret_value())
    file = url.database if url.drivername.startswith("sqlite") else None
    return [Path(file), Path(f"{file}-wal")] if file else []


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except (OSError, ValueError):
        return False
