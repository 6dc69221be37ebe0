"""Files that other users of this machine may read, and had better not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quartblog.settings.load import Loaded
    from quartblog.settings.sections import Settings

# Not the group: a file of root's that the site's group may read is how a service usually gets its settings.
_OTHERS = 0o007


def warnings(loaded: Loaded) -> Iterator[str]:
    """Yield a sentence for each of: a settings file with a password or key in it, the SQLite file of the blog."""
    if loaded.file is not None and loaded.file_holds_secrets and _is_open(loaded.file):
        yield f"{loaded.file}: holds a secret, and other users of this machine can read it: chmod o-rwx {loaded.file}"
    for path in _database_files(loaded.settings):
        if _is_open(path):
            yield f"{path}: holds addresses, and other users of this machine can read it: chmod o-rwx {path}"


def _database_files(settings: Settings) -> list[Path]:
    """With the log of what is not in it yet."""
    url = make_url(settings.database.url.get_secret_value())
    file = url.database if url.drivername.startswith("sqlite") else None
    return [Path(file), Path(f"{file}-wal")] if file else []


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except (OSError, ValueError):
        return False
